"""Stands in for the backend's command line: `fake_cli.py launch.py --progress json --parent-pipe COMMAND ...`.

Notes how it was called in the file that FAKE_CALLS names. `FAKE_CLI` is one of

    fail     says what is wrong, with a code; exit code 2
    crash    ends without a word of its own; exit code 3
    hang     works until its standard input closes; notes that it was asked to end
    deaf     works on for ever
    more     has a result, and works on until its standard input closes
"""

import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path

MODE, CALLS = os.environ.get("FAKE_CLI", ""), Path(os.environ["FAKE_CALLS"])
CLASSES = [
    {"id": n, "name": name, "color": color, "pixels": 10, "area_m2": 20.0 * (n + 1), "share": 0.5}
    for n, (name, color) in enumerate((("background", "#000000"), ("roof", "#e2572b")))
]


def tell(**fields):
    print(json.dumps(fields), flush=True)


def note(**fields):
    with CALLS.open("a") as file:
        file.write(json.dumps({"pid": os.getpid(), **fields}) + "\n")


def ended_by_parent():
    while os.read(0, 1024):
        pass
    note(ended="by its pipe")
    os._exit(130)


assert sys.argv[2:5] == ["--progress", "json", "--parent-pipe"], sys.argv
command, *rest = sys.argv[5:]
request = json.loads(Path(rest[0]).read_text()) if command == "job" else None
note(command=command, arguments=rest, request=request)
if MODE in ("hang", "more"):
    threading.Thread(target=ended_by_parent, daemon=True).start()
WHAT = {"list": "Looking at frames", "map": "Mapping frames"}.get((rest or [""])[0], "Mapping")
total = 10**6 if MODE in ("hang", "deaf") else 4
for done in range(1, total + 1):
    if command == "train":
        tell(step=done, loss=1 / done)
    tell(what=WHAT, done=done, total=total, unit="tiles", seconds_left=None)
    time.sleep(0.02)
    if MODE == "fail" and done == 2:
        sentence = "'x.tif' is damaged or cut short. Copy or download the file again."
        tell(error={"code": "raster_unreadable", "message": sentence})
        print(f"rotacube: {sentence}", file=sys.stderr)
        sys.exit(2)
    if MODE == "crash" and done == 2:
        sys.exit(3)
tell(said="a note for people")
if command == "job":
    products = [{**product, "href": ""} for product in request["products"]]
    for product in products:
        source = request["raster"] if product["kind"] in ("mask", "probability") else os.environ["FAKE_LAYER"]
        shutil.copy(source, product["path"])
    tell(
        result={
            **{"products": products, "width": 3, "height": 3, "gsd": [0.3, 0.3], "classes": CLASSES},
            **{"nodata_pixels": 0, "seconds": 1.0, "device": "cpu", "notes": []},
        }
    )
elif command in ("polygons", "statistics"):
    shutil.copy(os.environ["FAKE_LAYER"], rest[1])
    tell(result={"classes": CLASSES, "notes": []})
elif command == "dataset":
    Path(rest[3]).mkdir()
    tell(result={"tiles": {"train": 3, "test": 1}, "pixels": {"background": 10, "roof": 10}})
elif command == "train" and os.environ.get("FAKE_CARD"):
    (folder := Path(rest[rest.index("--output") + 1])).mkdir(exist_ok=True)
    changes = dict(word.split("=", 1) for word in rest if "=" in word)
    card = {**json.loads(Path(os.environ["FAKE_CARD"]).read_text()), "name": json.loads(changes["card.name"])}
    card["accuracy"] = {"town iou": 0.7, "town roofs f1": 0.5, "town before: iou": 0.5, "town before: roofs f1": 0.6}
    card["accuracy"].update({"town roofs f1 low": 0.4, "town roofs f1 high": 0.62})
    (folder / "model.json").write_text(json.dumps(card))
    tell(result={"name": card["name"], "folder": str(folder), "report": str(folder / "report.md")})
elif command == "models" and os.environ.get("FAKE_MODELS"):
    name = json.loads((Path(rest[1]) / "model.json").read_text())["name"]
    shutil.copytree(rest[1], target := Path(os.environ["FAKE_MODELS"]) / name)
    tell(result={"name": name, "folder": str(target)})
elif command == "frames" and rest[0] == "list":
    from osgeo import osr

    crs = osr.SpatialReference()
    crs.ImportFromEPSG(32632)
    corners = [[500000.0, 5200000.0], [500040.0, 5200000.0], [500040.0, 5200030.0], [500000.0, 5200030.0]]
    pose = {"longitude": 9.0, "latitude": 46.95, "height_m": 40.0, "yaw_deg": 10.0, "tilt_deg": 1.0, "gsd_m": 0.017}
    placed = [
        {**pose, "frame": f"{n}.jpg", "corners": [[x + 20 * n, y] for x, y in corners], "crs": crs.ExportToWkt()}
        for n in range(3)
    ]
    told = [*placed, {"frame": "3.jpg", "left_out": "'3.jpg' is blurred."}]
    tell(result={"frames": told, "notes": ["3 of 3 frames were saved again."]})
elif command == "frames" and rest[0] == "footprints":
    shutil.copy(os.environ["FAKE_LAYER"], rest[2])
    tell(said="Left out: '3.jpg' is blurred.")
    tell(result={"frames": 3, "left_out": 1})
elif command == "frames":
    (folder := Path(rest[2])).mkdir(exist_ok=True)
    for name in ("mask.tif", "probability.tif", "rgb.tif", "agreement.tif"):
        shutil.copy(os.environ["FAKE_RASTER"], folder / name)
    (folder / "shares.csv").write_text("zone,class\n,roof\n")
    shutil.copy(os.environ["FAKE_LAYER"], footprints := rest[rest.index("--footprints") + 1])
    files = {"mask": "mask.tif", "probability": "probability.tif", "statistics": "shares.csv"}
    products = [
        {"kind": kind, "format": "csv" if kind == "statistics" else "cog", "path": str(folder / name), "href": ""}
        for kind, name in files.items()
    ]
    also = {"photo": str(folder / "rgb.tif"), "agreement": str(folder / "agreement.tif"), "footprints": footprints}
    tell(
        result={
            **{"products": products, "width": 3, "height": 3, "gsd": [0.1, 0.1], "classes": CLASSES},
            **{"nodata_pixels": 0, "seconds": 1.0, "device": "cpu", "notes": [], "frames": 3, "also": also},
        }
    )
elif command == "grid":
    shutil.copy(os.environ["FAKE_LAYER"], rest[1])
    tell(result={"cells": 9, "treated": 4, "treated_m2": 36.0, "angle_deg": 12.5, "litres": None})
elif command == "scenes":
    note(reading=json.loads(Path(rest[rest.index("--reading") + 1]).read_text()))
    shutil.copy(os.environ["FAKE_LAYER"], rest[1])
    tell(result={"scenes": 20, "left_out": 3, "classes": []})
else:
    tell(result={"name": "mine", "folder": "/models/mine"})
while MODE == "more":
    tell(what="Writing squares", done=1, total=4, unit="", seconds_left=None)
    time.sleep(0.02)
