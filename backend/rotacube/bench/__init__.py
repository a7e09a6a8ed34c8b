"""Measurements of the operators: `rotacube bench ops`. Nothing here is used when a map is made."""
