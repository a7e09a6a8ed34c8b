"""Jobs: runs that wait for each other, and what is kept of each while somebody may ask."""
