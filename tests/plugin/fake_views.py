"""The stand-in's roofs by click: a town of equal roofs in rows, cut, missed and grown by rule.

Roofs stand in pairs that share a wall: number i along x, j along y (down), 8 m by 10 m, a pair every 20 m, a row every
14 m, from 4 m beside the raster's corner (or the place that a view without a raster is about). A roof's confidence is
0.55 to 0.9, and it is there where the threshold is not above that. Of every fifth row each third roof is missed: it is
given by `grow` alone. Words of `FAKE_MODE` besides those of the backend:

    slow_roofs      0.6 s for each request for roofs, unless it is cancelled
    forget          forgets the first view after one request for roofs
    die_roofs       the process kills itself at the first request for roofs after one with a ring: a second look
    fail_roofs      every request for roofs fails
"""

import itertools
import json
import os
import threading
import time

import numpy as np
from osgeo import gdal, osr

MODE = set(os.environ.get("FAKE_MODE", "").split(","))
GSD, CELL = 0.3, 128
VIEWS = {}
NUMBERS = itertools.count(1)
RASTER = {"path", "bands", "nodata", "declared_nodata", "alpha_band", "any_resolution", "allow_network"}


class Refused(Exception):
    """An answer that is an error: status, code, sentence."""


class View:
    """One view, and what was asked of it."""

    def __init__(self, body):
        self.id = f"view{next(NUMBERS)}"
        self.cells = {}
        self.asked, self.cancelled, self.grown = [], [], []
        self.body = body
        self.size = GSD
        if body.get("raster"):
            raster = gdal.Open(body["raster"]["path"])
            geo = raster.GetGeoTransform()
            self.crs = raster.GetSpatialRef().ExportToWkt()
            self.origin = geo[0], geo[3]
            self.extent = (geo[0], geo[3] + geo[5] * raster.RasterYSize, geo[0] + geo[1] * raster.RasterXSize, geo[3])
        else:
            self.crs, near = body["crs"], body["near"]
            self.origin, self.extent = (round(near[0], -1), round(near[1], -1)), None

    def info(self):
        pixel = [self.size, -self.size]
        return {"id": self.id, "crs": self.crs, "gsd": GSD, "origin": self.origin, "pixel": pixel, "cell": CELL}

    def roofs(self, bounds, threshold, missed=False):
        """The roofs that meet bounds, with the cells that they lie on."""
        (x, y), found = self.origin, []
        for i in range(int((bounds[0] - x) // 10) - 2, int((bounds[2] - x) // 10) + 2):
            for j in range(int((y - bounds[3]) // 14) - 2, int((y - bounds[1]) // 14) + 2):
                if (j % 5 == 4 and i % 3 == 0) != missed:
                    continue
                left, top = x + 4 + (i // 2) * 20 + (i % 2) * 8, y - 4 - j * 14
                box = left, top - 10, left + 8, top
                meets = box[0] <= bounds[2] and box[2] >= bounds[0] and box[1] <= bounds[3] and box[3] >= bounds[1]
                confidence = 0.55 + 0.05 * ((i + j) % 8)
                if meets and confidence >= threshold and self.inside(box):
                    found.append(roof(f"{i}:{j}", box, confidence))
        return found

    def inside(self, box):
        if self.extent is None:
            return all(self.cells.get(cell, False) for cell in self.over(box))
        left, bottom, right, top = self.extent
        return left <= box[0] and bottom <= box[1] and box[2] <= right and box[3] <= top

    def over(self, box):
        """The cells that a box meets."""
        (x, y), side = self.origin, CELL * self.size
        columns = range(int((box[0] - x) // side), int((box[2] - x) // side) + 1)
        rows = range(int((y - box[3]) // side), int((y - box[1]) // side) + 1)
        return [(col, row) for col in columns for row in rows]

    def needs(self, box):
        return [cell for cell in self.over(box) if cell not in self.cells] if self.extent is None else []


def roof(name, box, confidence):
    """A roof as the interface has it."""
    left, bottom, right, top = box
    ring = [[left, bottom], [right, bottom], [right, top], [left, top], [left, bottom]]
    measures = {
        "area": 80.0,
        "perimeter": 36.0,
        "confidence": round(confidence, 2),
        "axis": 0.0,
        "outline": "regularised",
    }
    return {"id": name, "geometry": {"type": "Polygon", "coordinates": [ring]}, **measures}


def answer(method, path, data):
    """What is answered to a request below `v1/views`: status and content.

    Raises:
        Refused: with status, code and sentence.
    """
    if not path:
        return 201, opened(json.loads(data))
    view = VIEWS.get(path[0])
    if view is None:
        raise Refused(404, "view_missing", f"There is no view '{path[0]}'.")
    rest = path[1:]
    if (method, rest) == ("GET", []):
        told = {"asked": view.asked, "cancelled": view.cancelled, "grown": view.grown, "body": view.body}
        return 200, {"tiles": 0, "cells": len(view.cells), "bytes": 0, **told}
    if (method, rest) == ("DELETE", []):
        del VIEWS[view.id]
        return 204, None
    if method == "PUT" and rest[:1] == ["cells"]:
        view.cells[int(rest[1]), int(rest[2])] = bool(alpha(data).all())
        return 204, None
    if method == "DELETE" and rest[:1] == ["work"]:
        view.cancelled.append(rest[1])
        return 204, None
    if (method, rest) == ("POST", ["roofs"]):
        return 200, looked(view, json.loads(data))
    if (method, rest) == ("POST", ["grow"]):
        return 200, grown(view, json.loads(data))
    raise Refused(404, "http", "Not Found.")


def opened(body):
    raster = body.get("raster")
    if set(body) - {"model", "raster", "crs", "near"} or (raster and set(raster) - RASTER):
        raise Refused(422, "refused", f"The request does not fit: {body}.")
    if not raster and not (body.get("crs") and len(body.get("near", [])) == 2):
        raise Refused(422, "refused", "A view without a raster has a CRS and a place.")
    if not raster and not projected(body["crs"]):
        raise Refused(400, "view_crs", "The CRS of the pixels is to be a projected one.")
    if "far" in MODE and raster and not raster["any_resolution"]:
        raise Refused(400, "raster_resolution", "The pixels are 10 m. Map them with --any-resolution.")
    view = View(body)
    VIEWS[view.id] = view
    return view.info()


def projected(crs):
    """Whether a CRS measures in metres or feet."""
    reference = osr.SpatialReference()
    reference.SetFromUserInput(crs)
    return bool(reference.IsProjected())


def looked(view, body):
    assert set(body) == {"bounds", "ring", "threshold", "smallest", "ticket"}
    view.asked.append(body)
    if "fail_roofs" in MODE:
        raise Refused(500, "raster_unreadable", "The raster cannot be read any further. Check the file.")
    if "die_roofs" in MODE and any(before["ring"] for before in view.asked[:-1]):
        os.kill(os.getpid(), 9)
    end = time.monotonic() + (0.6 if "slow_roofs" in MODE else 0)
    while time.monotonic() < end or body["ticket"] in view.cancelled:
        if body["ticket"] in view.cancelled:
            raise Refused(409, "cancelled", "It was cancelled.")
        time.sleep(0.01)
    if "forget" in MODE and view.id == "view1":
        threading.Timer(0.05, VIEWS.pop, (view.id, None)).start()
    threshold = 0.5 if body["threshold"] is None else body["threshold"]
    return {"roofs": view.roofs(body["bounds"], threshold), "needs": view.needs(body["bounds"]), "cut": 0}


def grown(view, body):
    assert set(body) == {"point", "threshold"}
    x, y = body["point"]
    view.grown.append(body["point"])
    needs = view.needs((x, y, x, y))
    found = view.roofs((x, y, x, y), 0.0, missed=True)
    why = None if found else "Nothing like a roof is there. Click on a roof."
    return {"roof": found[0] if found else None, "why": why, "needs": needs}


def alpha(png):
    """The opacity of a picture of the size of a cell, true where there is something."""
    name = f"/vsimem/cell{threading.get_ident()}.png"
    gdal.FileFromMemBuffer(name, png)
    try:
        picture = gdal.Open(name).ReadAsArray()
    finally:
        gdal.Unlink(name)
    assert picture.shape[1:] == (CELL, CELL) and picture.shape[0] in (3, 4), picture.shape
    return picture[3] > 0 if len(picture) == 4 else np.ones((CELL, CELL), bool)
