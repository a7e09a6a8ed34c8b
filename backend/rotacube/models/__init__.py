"""The model folder: the card, where models are found, loaded and saved, and their export for other programs."""

DEFAULT = "rooftop-lite"
"""The model that is offered first."""
