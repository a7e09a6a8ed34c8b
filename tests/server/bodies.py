"""Requests as the contract has them."""


def job_body(raster, model, output, **more):
    """The request for one mask."""
    return {
        "raster": str(raster),
        "model": str(model),
        "products": [{"kind": "mask", "format": "cog", "path": str(output)}],
        **more,
    }
