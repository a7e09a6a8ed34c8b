"""From a raster to a mask: tiles in, blended logits out, one strip at a time."""
