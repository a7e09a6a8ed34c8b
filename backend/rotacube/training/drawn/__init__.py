"""Scenes of our own: drawn towns with their labels."""
