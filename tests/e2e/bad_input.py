"""Run by the backend's Python: `bad_input.py FOLDER MODELS` writes rasters and a model that cannot be used."""

import shutil
import sys
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

folder, models = Path(sys.argv[1]), Path(sys.argv[2])


def write(name, array, crs="EPSG:32645", **profile):
    count, height, width = array.shape
    size = {"count": count, "height": height, "width": width, "dtype": array.dtype}
    with rasterio.open(
        folder / name, "w", "GTiff", crs=crs, transform=from_origin(335000, 3058000, 0.3, 0.3), **size, **profile
    ) as file:
        file.write(array)


rng = np.random.default_rng(1)
fine = rng.integers(1, 255, (3, 400, 400), dtype="uint8")
write("fine.tif", fine)
write("one_band.tif", fine[:1])
write("all_nodata.tif", np.zeros_like(fine), nodata=0)
write("one_pixel_wide.tif", fine[:, :, :1])
write("no_crs.tif", fine, crs=None)
write("truncated.tif", fine)
whole = (folder / "truncated.tif").read_bytes()
(folder / "truncated.tif").write_bytes(whole[: len(whole) // 3])

shutil.copytree(models / "tiny", models / "damaged")
card = models / "damaged" / "model.json"
card.write_text(card.read_text().replace('"tiny"', '"damaged"'))
(weights,) = (models / "damaged").glob("*.safetensors")
weights.chmod(0o644)
data = bytearray(weights.read_bytes())
data[-1] ^= 255
weights.write_bytes(bytes(data))
