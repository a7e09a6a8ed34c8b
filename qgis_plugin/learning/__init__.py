"""A model is taught from polygons on the map: what is asked, the commands that do it, what came of it."""
