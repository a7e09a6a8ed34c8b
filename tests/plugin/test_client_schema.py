"""What the plugin understands of the backend's answers."""

import pytest
from qgis_plugin.client.schema import BackendError, JobInfo, JobResult, Product, TileEvent, parse


def test_parse_refuses_what_does_not_fit():
    for kind, data in ((TileEvent, {}), (TileEvent, []), (JobInfo, {"id": "x", "state": "queued", "request": 3})):
        with pytest.raises(BackendError) as caught:
            parse(kind, data)
        assert caught.value.code == "protocol"


def test_result_and_its_products():
    product = {"kind": "mask", "format": "cog", "path": "/m.tif", "href": "v1/jobs/x/products/0", "new": 1}
    data = {
        "products": [product],
        "width": 3,
        "height": 2,
        "gsd": [1, 0.5],
        "classes": [],
        "nodata_pixels": 0,
        "notes": [],
    }
    result = parse(JobResult, {**data, "seconds": 1.0, "device": "cpu"})
    assert result.product("mask") == Product("mask", "cog", "/m.tif", "v1/jobs/x/products/0")
    assert result.gsd == (1.0, 0.5)
    with pytest.raises(BackendError, match="without a table"):
        result.product("table")
    with pytest.raises(BackendError):
        parse(JobResult, {**data, "seconds": 1.0, "device": "cpu", "gsd": 0.3})
