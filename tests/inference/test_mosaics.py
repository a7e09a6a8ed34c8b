"""Memory does not grow with the raster, and comes back after a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import rasterio

SIDE = 256
COLUMNS = 12
RUN = """
import gc, json, resource, sys, time
from pathlib import Path
import psutil, torch
from rotacube.inference.run import MapRequest, Product, run_map
from rotacube.models.store import LoadedModel, load_model

class Sum(torch.nn.Module):
    def forward(self, x):
        return x.mean(1, keepdim=True)

torch.set_num_threads(1)
model = load_model(sys.argv[1])
model = LoadedModel(model.card, Sum(), model.folder)
found = []
for n, raster in enumerate(sys.argv[2:]):
    run_map(MapRequest(raster, "none", (Product("mask", Path(raster).with_name(f"out{n}.tif")),)), model)
    gc.collect()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    rests = []
    for _ in range(10):  # the allocator gives back what is free when it gets round to it
        time.sleep(0.1)
        rests.append(psutil.Process().memory_info().rss)
    found.append((peak, min(rests)))
print(json.dumps(found))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are told in other units elsewhere")
def test_a_large_mosaic_takes_what_a_small_one_takes_and_gives_it_back(tmp_path, model_folder):
    image = np.random.default_rng(0).integers(1, 255, (3, SIDE, SIDE)).astype(np.uint8)
    shape = {"count": 3, "height": SIDE, "width": SIDE, "dtype": "uint8", "crs": "EPSG:32645"}
    mosaics = {}
    for name, rows in (("small", 2), ("large", 12)):
        parts = []
        for i in range(rows):
            for j in range(COLUMNS):
                parts.append(str(tmp_path / f"{name}_{i}_{j}.tif"))
                place = rasterio.Affine(0.15, 0, 353000 + 0.15 * SIDE * j, 0, -0.15, 3060000 - 0.15 * SIDE * i)
                with rasterio.open(parts[-1], "w", "GTiff", transform=place, compress="deflate", **shape) as file:
                    file.write(image)
        (tmp_path / f"{name}.txt").write_text("\n".join(parts))
        mosaics[name] = str(tmp_path / f"{name}.vrt")
        subprocess.run(
            ["gdalbuildvrt", "-q", "-input_file_list", f"{name}.txt", mosaics[name]], cwd=tmp_path, check=True
        )
    order = [mosaics["small"], mosaics["large"], mosaics["large"]]
    out = subprocess.run(
        [sys.executable, "-c", RUN, str(model_folder), *order],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    (small, _), (first, rest), (last, rest_at_last) = json.loads(out.stdout.splitlines()[-1])
    assert first <= 1.1 * small, "the peak of 144 tiles over that of 24"
    assert last <= 1.05 * first and rest_at_last <= 1.05 * rest, "run after run"
