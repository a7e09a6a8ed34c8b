#!/usr/bin/env bash
# Sets up all that `make demo` and `make test` need: system packages where missing, .venv (backend), .venv-qgis (tests of
# the plugin in QGIS's own Python). Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

# The Python that QGIS uses is the system's, whatever comes first on PATH.
QGIS_PYTHON=${QGIS_PYTHON:-/usr/bin/python3}
PYTHON=${PYTHON:-python3}

missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("${@:2}"); }
need qgis qgis
need Xvfb xvfb
need xauth xauth
need g++ g++
need gdalinfo gdal-bin
"$QGIS_PYTHON" -c 'import qgis.core' >/dev/null 2>&1 || missing+=(python3-qgis)
"$QGIS_PYTHON" -c 'import ensurepip, venv' >/dev/null 2>&1 || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null 2>&1; then
    echo "Please install what is missing with your system's package manager, then run this again: ${missing[*]}" >&2
    exit 1
  fi
  sudo=()
  if [ "$(id -u)" -ne 0 ]; then sudo=(sudo); fi
  echo "Installing system packages: ${missing[*]}"
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >build-apt.log 2>&1 ||
    { tail -20 build-apt.log >&2; exit 1; }
  rm -f build-apt.log
fi

if ! "$PYTHON" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
  PYTHON=$QGIS_PYTHON
fi

if ! .venv/bin/python -c '' >/dev/null 2>&1; then
  rm -rf .venv
  "$PYTHON" -m venv .venv
fi
echo "Installing the backend into .venv"
install() { "$1/bin/python" -m pip install -q --disable-pip-version-check --no-compile "${@:2}"; }  # no bytecode that few need
# What the backend needs, and its extras that are named, as pyproject.toml says.
needs() {
  .venv/bin/python -c 'import sys, tomllib
with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
extras = project["optional-dependencies"]
print(*project["dependencies"], *(need for name in sys.argv[1:] for need in extras[name]), sep="\n")' "$@"
}
fetch() {
  local wanted
  wanted=$(needs dev train imagenet export onnx parquet frames)
  install .venv -c constraints.txt $wanted
  # An oracle for the rotation convolution; what it says that it needs beside NumPy and SciPy, the tests do not use.
  install .venv --no-deps 'e2cnn==0.2.3' || echo "e2cnn could not be installed: the test against it is skipped."
  if ! .venv-qgis/bin/python -c '' >/dev/null 2>&1; then
    rm -rf .venv-qgis
    "$QGIS_PYTHON" -m venv --system-site-packages .venv-qgis
  fi
  echo "Installing the plugin's test tools into .venv-qgis"
  install .venv-qgis 'pytest>=8' 'pytest-qgis>=2' 'pytest-timeout>=2.3'
}
# The operators are compiled against the installed torch, so it comes first; what else there is to fetch comes meanwhile.
install .venv 'setuptools>=77' -c constraints.txt torch
fetch &
fetching=$!
trap 'kill $fetching 2>/dev/null || true' EXIT
ROTACUBE_REQUIRE_EXT=${ROTACUBE_REQUIRE_EXT:-1} install .venv --no-build-isolation --no-deps -e .
wait $fetching
touch .venv/.done
