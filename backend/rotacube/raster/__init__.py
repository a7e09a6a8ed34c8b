"""Rasters: opened on the model's grid, normalised, and written as Cloud Optimized GeoTIFF."""
