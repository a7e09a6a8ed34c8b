"""From map layers to what the backend reads, and from its files back to styled layers."""
