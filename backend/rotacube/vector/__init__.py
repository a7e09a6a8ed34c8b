"""From masks to features: single roofs, polygons, statistics. The place is kept; docs/architecture.md says for what."""
