"""Virtual rasters for tests, as text."""

from __future__ import annotations

NAMES = {"uint8": "Byte", "uint16": "UInt16", "float32": "Float32"}


def write_vrt(path, bands, size, crs="EPSG:32645", transform=(353000, 0.15, 0, 3060000, 0, -0.15), more=""):
    """A VRT of size (height, width): bands of (source, band of it), or (source, band of it, data type, nodata)."""
    height, width = size
    text = [f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{crs}</SRS>']
    text.append(f"<GeoTransform>{', '.join(map(str, transform))}</GeoTransform>{more}")
    for n, (source, band, *rest) in enumerate(bands, 1):
        kind, nodata = (*rest, "uint8", None)[:2] if rest else ("uint8", None)
        empty = "" if nodata is None else f"<NoDataValue>{nodata}</NoDataValue>"
        box = f'xOff="0" yOff="0" xSize="{width}" ySize="{height}"'
        text.append(
            f'<VRTRasterBand dataType="{NAMES[kind]}" band="{n}">{empty}<SimpleSource><SourceFilename relativeToVRT='
            f'"1">{source}</SourceFilename><SourceBand>{band}</SourceBand><SrcRect {box}/><DstRect {box}/>'
            "</SimpleSource></VRTRasterBand>"
        )
    path.write_text("".join([*text, "</VRTDataset>"]))
    return str(path)
