"""Roofs by click: a tool on the map that shows the roof under the cursor and takes it into a layer."""
