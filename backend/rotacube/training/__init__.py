"""Training on labelled scenes, drawn or real."""
