"""What the plugin understands of the backend's answers."""

import pytest
from qgis_plugin.client.schema import BackendError, JobInfo, TileEvent, parse


def test_parse_refuses_what_does_not_fit():
    for kind, data in ((TileEvent, {}), (TileEvent, []), (JobInfo, {"id": "x", "state": "queued", "request": 3})):
        with pytest.raises(BackendError) as caught:
            parse(kind, data)
        assert caught.value.code == "protocol"
