"""The plugin's dataclasses say what the backend's OpenAPI document says."""

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path

import pytest
from support import run_backend

REPO = Path(__file__).resolve().parents[2]
MESSAGES = ("ErrorBody", "OperatorInfo", "Info", "ClassInfo", "ModelInfo", "ProductRequest", "JobRequest", "ClassArea")
MESSAGES += ("NodataRange",)
MESSAGES += ("Product", "JobResult", "JobInfo", "TileEvent", "InterruptedJob", "DiskNeed", "Estimate")
MESSAGES += ("RasterReading", "ViewRequest", "ViewInfo", "RoofInfo", "RoofsFound", "RoofGrown")
PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}


@pytest.fixture(scope="module")
def openapi(backend_python):
    """The backend's document."""
    code = "import json; from rotacube.server.app import create_app; print(json.dumps(create_app('x').openapi()))"
    return json.loads(run_backend(backend_python, "-c", code).splitlines()[-1])


@pytest.fixture(scope="module")
def messages():
    """The plugin's dataclasses, without QGIS."""
    path = REPO / "qgis_plugin" / "client" / "schema.py"
    spec = importlib.util.spec_from_file_location("plugin_messages", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["plugin_messages"] = module
    spec.loader.exec_module(module)
    return module


def written(schema):
    """A JSON schema as the plugin's annotation has it."""
    if "$ref" in schema:
        return schema["$ref"].rsplit("/", 1)[1]
    if "anyOf" in schema:
        kinds = [written(kind) for kind in schema["anyOf"] if kind.get("type") != "null"]
        assert len(kinds) == 1
        return f"Optional[{kinds[0]}]"
    if schema["type"] == "array" and "prefixItems" in schema:
        return f"Tuple[{', '.join(written(item) for item in schema['prefixItems'])}]"
    if schema["type"] == "array":
        return f"List[{written(schema['items'])}]"
    if schema["type"] == "object":
        # JSON's keys are text whatever they mean
        values = schema["additionalProperties"]
        return f"Dict[*, {'Any' if values is True else written(values)}]"
    return PLAIN[schema["type"]]


def annotated(field):
    """A dataclass field's annotation in the same words."""
    text = field.type.replace("Corner", "Tuple[float, float]")
    return text.replace("Dict[str,", "Dict[*,").replace("Dict[int,", "Dict[*,")


@pytest.mark.parametrize("name", MESSAGES)
def test_dataclass_and_schema_agree(openapi, messages, name):
    schema = openapi["components"]["schemas"][name]
    fields = {field.name: field for field in dataclasses.fields(getattr(messages, name))}
    assert set(fields) == set(schema["properties"])
    for key, field in fields.items():
        assert annotated(field) == written(schema["properties"][key]), f"{name}.{key}"
        if key in schema.get("required", []):
            continue
        assert {field.default, field.default_factory} != {dataclasses.MISSING}, f"{name}.{key} may be absent"


def test_every_path_that_the_plugin_uses_is_there(openapi):
    paths = {path.replace("{name}", "{id}").replace("{job_id}", "{id}") for path in openapi["paths"]}
    assert {"/v1/health", "/v1/info", "/v1/models", "/v1/jobs", "/v1/jobs/{id}", "/v1/jobs/{id}/cancel"} <= paths
    assert {"/v1/jobs/{id}/events", "/v1/jobs/{id}/tiles/{n}.png"} <= paths


def test_final_states_are_the_contracts(openapi, messages):
    states = openapi["components"]["schemas"]["JobInfo"]["properties"]["state"]["enum"]
    assert set(messages.FINAL_STATES) == set(states) - {"queued", "running"}


def test_what_a_cut_off_map_of_frames_leaves_is_known_to_the_plugin(backend_python):
    code = "from pathlib import Path; from rotacube.inference.frames_request import PRODUCTS; "
    code += "from rotacube.inference.store import folder_of; "
    code += "print(folder_of(Path('out') / PRODUCTS['mask']).name, *PRODUCTS.values())"
    kept, *files = run_backend(backend_python, "-c", code).split()
    order = (REPO / "qgis_plugin" / "frames" / "order.py").read_text(encoding="utf-8")
    assert f'KEPT = "{kept}"' in order and len(files) > 4
    assert [name for name in files if f'"{name}"' not in order] == []
