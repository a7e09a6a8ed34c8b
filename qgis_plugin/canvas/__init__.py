"""What is drawn on the map canvas and clicked in it."""
