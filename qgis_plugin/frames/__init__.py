"""Drone frames: looked at, shown on the map, mapped."""
