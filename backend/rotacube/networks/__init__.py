"""The networks, a file a family, made of shared parts; the registry names them, `sizes` counts them."""
