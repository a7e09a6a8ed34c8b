"""Rotacube: rooftops in aerial and drone imagery, mapped tile by tile on your own machine."""


def classFactory(iface):
    """Give QGIS the plugin (QGIS calls this by name)."""
    from .plugin import RotacubePlugin

    return RotacubePlugin(iface)
