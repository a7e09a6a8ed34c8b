"""What the backend can do, as algorithms of QGIS's Processing: in the toolbox, in models, in batch, in qgis_process."""
