"""The model folder: the card, where models are found, loaded and saved, and their export for other programs."""
