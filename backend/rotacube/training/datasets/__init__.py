"""Labelled imagery: areas split by place, and crops of them."""
