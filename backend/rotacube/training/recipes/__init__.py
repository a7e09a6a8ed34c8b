"""The recipes: which network learns what, from which data, for how long."""
