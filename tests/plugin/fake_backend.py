"""A stand-in for the backend: same command line, same interface, invented tiles; on request it misbehaves.

`FAKE_MODE` holds any of these words, separated by commas:

    fail_start      the greeting is an error, exit code 2
    no_greeting     prints something else first
    mute            never prints a greeting
    crash_start     exits at once with 3
    no_models       knows no model
    bad_models      /v1/models answers with something that is no JSON
    refuse          refuses every job (raster_bands)
    far             refuses jobs that do not take any resolution (raster_resolution)
    network         refuses jobs that do not allow the network (raster_network)
    notes           the result has something to say
    fail_job        the job fails after two tiles (raster_unreadable)
    die             the process kills itself after three tiles
    break           the event stream breaks once, after two tiles
    silent          the event stream falls silent after two tiles, without heartbeats
    deaf            cancelling is ignored
    bad_event       an event that is no JSON after two tiles
    no_result       the job finishes without a result
    full            hardly any room on the disk
    slow            0.3 s a tile instead of 0.02 s
    quick           0.004 s a tile

`fake_views.py` has more of them. QGIS's Python starts this as a script; it imports nothing of the project, and is one
file, though a long one, but for that.
"""

import argparse
import itertools
import json
import math
import os
import struct
import sys
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fake_views
import numpy as np
from osgeo import gdal, ogr, osr

gdal.UseExceptions()
MODE = set(os.environ.get("FAKE_MODE", "").split(","))
TILE = 64
VERSION = os.environ.get("FAKE_VERSION", "0.1.0")
COLORS = {0: "#000000", 1: "#e2572b"}
MODEL = {
    "name": "fake-rooftop",
    "title": "Rooftops (stand-in)",
    "task": "segmentation",
    "architecture": "stand_in",
    "bands": ["red", "green", "blue"],
    "gsd": 0.3,
    "gsd_range": [0.15, 0.9],
    "tile": TILE,
    "overlap": 0,
    "classes": [{"id": i, "name": n, "color": COLORS[i]} for i, n in enumerate(("background", "building"))],
    "threshold": 0.45,
    "smallest": 2.0,
    "licence": "CC0",
    "attribution": "nobody",
    "training_data": "none",
    "notice": "",
    "accuracy": {"iou": 0.5},
    "parameters": 4_900_000,
    "sha256": "0" * 64,
}
JOBS = {}
LEFT = json.loads(os.environ.get("FAKE_LEFT", "[]"))  # jobs that an earlier backend was to make: their requests
INTERRUPTED = {f"left{n}": request for n, request in enumerate(LEFT)}
NUMBERS = itertools.count(1)
AT_WORK = threading.Lock()  # one job after the other


def png(rgba):
    """An RGBA array as PNG."""
    height, width = rgba.shape[:2]
    raw = b"".join(b"\0" + rgba[row].tobytes() for row in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


class Job:
    """One job: its events and what they say."""

    def __init__(self, request):
        self.id = f"job{next(NUMBERS)}"
        self.request = request
        self.state = "queued"
        self.done = 0
        self.total = 0
        self.step = ""
        self.result = None
        self.error = None
        self.events = []
        self.pictures = {}
        self.condition = threading.Condition()
        self.cancelled = threading.Event()
        self.streams = 0

    def info(self):
        return {
            "id": self.id,
            "state": self.state,
            "request": self.request,
            "tiles_done": self.done,
            "tiles_total": self.total,
            "seconds_left": None,
            "step": self.step,
            "step_share": 0.5 if self.step else 0.0,
            "result": self.result,
            "error": self.error,
        }

    def emit(self, name, data):
        with self.condition:
            self.events.append((name, data if isinstance(data, str) else json.dumps(data)))
            self.condition.notify_all()

    def set(self, state, **values):
        self.state = state
        for key, value in values.items():
            setattr(self, key, value)
        self.emit("state", self.info())

    def run(self):
        try:
            with AT_WORK:
                if not self.cancelled.is_set():
                    self.work()
        except Exception as error:
            self.set("failed", error={"code": "raster_unreadable", "message": str(error)})

    def work(self):
        raster = gdal.Open(self.request["raster"])
        width, height = raster.RasterXSize, raster.RasterYSize
        band = raster.GetRasterBand(1).ReadAsArray()
        geo = raster.GetGeoTransform()
        wkt = raster.GetSpatialRef().ExportToWkt()
        mask = (band > np.median(band)).astype("uint8")
        windows = [
            (x, y, min(TILE, width - x), min(TILE, height - y))
            for y in range(0, height, TILE)
            for x in range(0, width, TILE)
        ]
        self.set("running", total=len(windows))
        for n, (x, y, w, h) in enumerate(windows):
            time.sleep(0.3 if "slow" in MODE else 0.004 if "quick" in MODE else 0.02)
            if self.cancelled.is_set():
                return self.set("cancelled")
            part = mask[y : y + h, x : x + w]
            rgba = np.zeros((h, w, 4), "uint8")
            rgba[part == 1] = (226, 87, 43, 255)
            self.pictures[n] = png(rgba)
            self.done = n + 1
            corners = [
                [geo[0] + geo[1] * cx + geo[2] * cy, geo[3] + geo[4] * cx + geo[5] * cy]
                for cx, cy in ((x, y), (x + w, y), (x + w, y + h), (x, y + h))
            ]
            counts = {str(i): int((part == i).sum()) for i in (0, 1)}
            left = (len(windows) - n - 1) * 0.3
            self.emit(
                "tile",
                {
                    "n": n,
                    "done": n + 1,
                    "total": len(windows),
                    "seconds_left": left,
                    "crs": wkt,
                    "corners": corners,
                    "counts": counts,
                    "preview": f"v1/jobs/{self.id}/tiles/{n}.png",
                },
            )
            if n == 1 and "fail_job" in MODE:
                message = "The raster cannot be read any further. Check the file."
                return self.set("failed", error={"code": "raster_unreadable", "message": message})
            if n == 1 and "bad_event" in MODE:
                self.emit("state", "{this is no JSON")
                time.sleep(60)
            if n == 2 and "die" in MODE:
                os.kill(os.getpid(), 9)
        for product in self.request["products"]:
            self.step = "Drawing outlines"
            self.set("running")
            self.write(product, mask, geo, wkt)
        pixel = abs(geo[1] * geo[5])
        total = mask.size
        classes = [
            {**item, "pixels": int((mask == item["id"]).sum()), "area_m2": float((mask == item["id"]).sum() * pixel)}
            for item in MODEL["classes"]
        ]
        for item in classes:
            item["share"] = item["pixels"] / total
        result = {
            "products": [
                {**product, "href": f"v1/jobs/{self.id}/products/{n}"}
                for n, product in enumerate(self.request["products"])
            ],
            "width": width,
            "height": height,
            "gsd": [math.hypot(geo[1], geo[4]), math.hypot(geo[2], geo[5])],
            "classes": classes,
            "nodata_pixels": 0,
            "seconds": 12.3,
            "device": "cpu",
            "notes": ["-10000 looks like nodata."] if "notes" in MODE else [],
        }
        self.set("finished", result=None if "no_result" in MODE else result)

    def write(self, product, mask, geo, wkt):
        path = Path(product["path"])
        if path.exists() and not self.request.get("overwrite"):
            raise RuntimeError(f"{path} is there already.")
        path.unlink(missing_ok=True)
        if product["kind"] == "statistics":
            path.write_text(
                "zone,class_id,class,pixels,area_m2,area_best_m2,area_low_m2,area_high_m2,"
                "share,share_best,share_low,share_high,assumptions\n"
                "whole map,1,building,40,40.0,42.0,30.0,50.0,0.4,0.42,0.3,0.5,Errors are as on validation.\n",
                encoding="utf-8-sig",
            )
            return
        if product["kind"] == "polygons":
            self.write_polygons(path, geo, wkt)
            return
        driver = gdal.GetDriverByName("GTiff")
        out = driver.Create(str(path), mask.shape[1], mask.shape[0], 1, gdal.GDT_Byte)
        out.SetGeoTransform(geo)
        out.SetSpatialRef(osr.SpatialReference(wkt))
        out.GetRasterBand(1).WriteArray(mask)
        out = None

    def write_polygons(self, path, geo, wkt):
        source = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
        layer = source.CreateLayer("roofs", osr.SpatialReference(wkt), ogr.wkbPolygon)
        for name, kind in (("class", ogr.OFTString), ("area_m2", ogr.OFTReal), ("confidence", ogr.OFTReal)):
            layer.CreateField(ogr.FieldDefn(name, kind))
        for left in (2, 12):
            corners = [(left, 2), (left + 8, 2), (left + 8, 9), (left, 9), (left, 2)]
            places = [(geo[0] + geo[1] * x + geo[2] * y, geo[3] + geo[4] * x + geo[5] * y) for x, y in corners]
            feature = ogr.Feature(layer.GetLayerDefn())
            feature.SetGeometry(ogr.CreateGeometryFromWkt(f"POLYGON(({', '.join(f'{x} {y}' for x, y in places)}))"))
            feature["class"], feature["area_m2"], feature["confidence"] = "building", 5.04, 0.9
            layer.CreateFeature(feature)
        layer = source = None


DEFAULTS = {
    **{"bounds": None, "bounds_crs": None, "bands": None, "nodata": [], "declared_nodata": True, "alpha_band": None},
    **{"any_resolution": False, "allow_network": False, "overwrite": False},
    **{"threshold": None, "smallest": None, "within": "", "zones": "", "zone_field": "", "resume": False, "turns": 1},
    "grid": "model",
}
FORMATS = {
    "mask": {"cog"},
    "probability": {"cog"},
    "polygons": {"gpkg", "fgb"},
    "statistics": {"csv", "json"},
}


def fitting(data):
    """A JobRequest as it was sent, and what is wrong with it."""
    try:
        body = json.loads(data)
        missing = {"raster", "model", "products"} - set(body)
        unknown = set(body) - {"raster", "model", "products"} - set(DEFAULTS)
        if missing or unknown:
            return body, f"{sorted(missing)} missing, {sorted(unknown)} unknown"
        if not body["products"] or any(set(item) != {"kind", "format", "path"} for item in body["products"]):
            return body, "products"
        if any(item["format"] not in FORMATS.get(item["kind"], ()) for item in body["products"]):
            return body, "kind and format"
        return body, ""
    except (ValueError, TypeError) as error:
        return None, str(error)


class Handler(BaseHTTPRequestHandler):
    """The interface of docs/api.md."""

    protocol_version = "HTTP/1.1"

    def log_message(self, text, *args):
        print(text % args, file=sys.stderr, flush=True)

    def do_GET(self):
        self.route("GET")

    def do_POST(self):
        self.route("POST")

    def do_DELETE(self):
        self.route("DELETE")

    def do_PUT(self):
        self.route("PUT")

    def route(self, method):
        length = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(length)
        if self.headers.get("Host", "").rsplit(":", 1)[0] not in ("127.0.0.1", "localhost", "[::1]"):
            return self.fail(403, "refused", "Requests are only taken under a loopback host name.")
        if self.headers.get("Authorization") != f"Bearer {os.environ['ROTACUBE_TOKEN']}":
            return self.fail(401, "unauthorised", "The request lacks the server's token.")
        path = self.path.strip("/").split("/")
        if path[:2] == ["v1", "jobs"] and len(path) > 2:
            if path[2] not in JOBS:
                return self.fail(404, "job_missing", f"There is no job '{path[2]}'.")
            return self.route_job(method, JOBS[path[2]], path[3:])
        if path[:2] == ["v1", "interrupted"] and len(path) > 2:
            return self.route_interrupted(method, path[2], path[3:])
        if path[:2] == ["v1", "views"]:
            try:
                return self.answer(*fake_views.answer(method, path[2:], data))
            except fake_views.Refused as refused:
                return self.fail(*refused.args)
        routes = {
            ("GET", "interrupted"): self.interrupted,
            ("GET", "health"): self.health,
            ("GET", "info"): self.info,
            ("GET", "models"): self.models,
            ("GET", "jobs"): lambda: self.answer(200, [job.info() for job in JOBS.values()]),
            ("POST", "jobs"): lambda: self.create(data),
            ("POST", "estimate"): lambda: self.estimate(data),
        }
        if path[:1] != ["v1"] or len(path) != 2 or (method, path[1]) not in routes:
            return self.fail(404, "http", "Not Found.")
        return routes[method, path[1]]()

    def interrupted(self):
        left = [{"id": n, "request": {**DEFAULTS, **request}, "share": 0.43} for n, request in INTERRUPTED.items()]
        return self.answer(200, left)

    def route_interrupted(self, method, name, rest):
        if (method, rest) not in (("POST", ["resume"]), ("DELETE", [])):
            return self.fail(404, "http", "Not Found.")
        if name not in INTERRUPTED:
            return self.fail(404, "job_missing", f"There is no interrupted job '{name}'.")
        if rest:
            return self.create(json.dumps({**INTERRUPTED.pop(name), "resume": True}))
        del INTERRUPTED[name]
        return self.answer(204, None)

    def route_job(self, method, job, rest):
        if (method, rest) == ("GET", []):
            return self.answer(200, job.info())
        if (method, rest) == ("DELETE", []):
            job.cancelled.set()
            del JOBS[job.id]
            return self.answer(204, None)
        if (method, rest) == ("POST", ["cancel"]):
            if "deaf" not in MODE:
                job.cancelled.set()
                if job.state == "queued":
                    job.set("cancelled")
            return self.answer(200, job.info())
        if (method, rest) == ("GET", ["events"]):
            return self.stream(job)
        if method == "GET" and len(rest) == 2 and rest[0] == "tiles":
            n = int(rest[1].removesuffix(".png"))
            if n not in job.pictures:
                return self.fail(404, "preview_missing", f"Tile {n} has no preview.")
            return self.answer(200, job.pictures[n], "image/png")
        if method == "GET" and len(rest) == 2 and rest[0] == "products" and job.result:
            return self.answer(200, Path(job.result["products"][int(rest[1])]["path"]).read_bytes(), "image/tiff")
        return self.fail(404, "http", "Not Found.")

    def health(self):
        return self.answer(200, {"status": "ok", "version": VERSION, "pid": os.getpid(), "uptime_s": 1.0})

    def info(self):
        answer = {
            "version": VERSION,
            "torch": "none",
            "device": "cpu",
            "device_why": "This is a stand-in.",
            "threads": 1,
            "operators": [{"name": "cube_conv", "path": "reference", "why": "This is a stand-in."}],
            "model_folders": ["/nowhere"],
        }
        return self.answer(200, answer)

    def models(self):
        if "bad_models" in MODE:
            return self.answer(200, b"<html>")
        return self.answer(200, [] if "no_models" in MODE else [MODEL])

    def create(self, data):
        body, wrong = fitting(data)
        if wrong:
            return self.fail(422, "refused", f"The request does not fit: {wrong}.")
        if "refuse" in MODE:
            return self.fail(400, "raster_bands", "The raster has 1 band, the model needs 3. Choose another raster.")
        if "far" in MODE and not body.get("any_resolution"):
            return self.fail(400, "raster_resolution", "The pixels are 10 m. Map them with --any-resolution.")
        if "network" in MODE and not body.get("allow_network"):
            return self.fail(400, "raster_network", "The raster makes requests to example.org.")
        job = Job({**DEFAULTS, **body})
        JOBS[job.id] = job
        job.emit("state", job.info())
        threading.Thread(target=job.run, daemon=True).start()
        return self.answer(201, job.info())

    def estimate(self, data):
        body, wrong = fitting(data)
        if wrong:
            return self.fail(422, "refused", f"The request does not fit: {wrong}.")
        if "refuse" in MODE:
            return self.fail(400, "raster_bands", "The raster has 1 band, the model needs 3. Choose another raster.")
        raster = gdal.Open(body["raster"])
        columns, rows = -(-raster.RasterXSize // TILE), -(-raster.RasterYSize // TILE)
        if body.get("bounds"):
            columns = rows = 1
        folder = str(Path(body["products"][0]["path"]).parent)
        need = 40_000_000 * len(body["products"])
        disks = [{"folder": folder, "bytes": need, "free": 10 if "full" in MODE else 5_000_000_000}]
        answer = {"tiles": columns * rows, "width": raster.RasterXSize, "height": raster.RasterYSize, "disks": disks}
        return self.answer(200, answer)

    def stream(self, job):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        job.streams += 1
        at = int(self.headers.get("Last-Event-ID") or 0)
        tiles = 0
        while True:
            with job.condition:
                if len(job.events) <= at and not job.condition.wait(10):
                    self.wfile.write(b"event: heartbeat\ndata: {}\n\n")
                    continue
                name, data = job.events[at]
            at += 1
            self.wfile.write(f"id: {at}\nevent: {name}\ndata: {data}\n\n".encode())
            self.wfile.flush()
            if name == "state" and job.state in ("finished", "failed", "cancelled") and at == len(job.events):
                return
            tiles += name == "tile"
            if tiles == 2 and "break" in MODE and job.streams == 1:
                return
            if tiles == 2 and "silent" in MODE:
                time.sleep(600)

    def answer(self, status, content, kind="application/json"):
        self.send_response(status)
        if content is None:
            return self.end_headers()
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def fail(self, status, code, message):
        self.answer(status, {"error": {"code": code, "message": message}})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("--port", type=int)
    parser.add_argument("--parent-pipe", action="store_true")
    arguments = parser.parse_args()
    print("stand-in starts", file=sys.stderr, flush=True)
    if "crash_start" in MODE:
        print("ImportError: no torch here", file=sys.stderr, flush=True)
        sys.exit(3)
    if "mute" not in MODE:
        greet(arguments.port)
    if arguments.parent_pipe:
        sys.stdin.buffer.read()
        os._exit(0)


def greet(port):
    if "fail_start" in MODE:
        error = {"code": "model_damaged", "message": "The model's folder is damaged. Install it again."}
        print(json.dumps({"error": error}), flush=True)
        sys.exit(2)
    if "no_greeting" in MODE:
        print("Hello from another program", flush=True)
        return
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_address[1], "version": VERSION, "pid": os.getpid()}), flush=True)


if __name__ == "__main__":
    main()
