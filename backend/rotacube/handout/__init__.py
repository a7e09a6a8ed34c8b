"""A map for who has no GIS: an overlay for Google Earth, and a report of one page."""
