"""The backend seen from QGIS: finding and setting up its Python, starting and stopping it, talking to it."""
