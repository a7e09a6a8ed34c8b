"""Networks, one file a family, and the registry that builds them by name."""
