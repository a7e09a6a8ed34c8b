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
# The operators are compiled against the installed torch, so it comes first and the build sees it. Of most modules nobody
# needs the bytecode; Python makes it of those that are imported.
.venv/bin/python -m pip install -q --disable-pip-version-check --no-compile 'setuptools>=77' -c constraints.txt torch
ROTACUBE_REQUIRE_EXT=${ROTACUBE_REQUIRE_EXT:-1} .venv/bin/python -m pip install -q --disable-pip-version-check --no-compile \
  --no-build-isolation -c constraints.txt -e '.[dev,train,imagenet,export,onnx,parquet,frames]'
# An oracle for the rotation convolution; what it says that it needs beside NumPy and SciPy, the tests do not use.
.venv/bin/python -m pip install -q --disable-pip-version-check --no-deps 'e2cnn==0.2.3' ||
  echo "e2cnn could not be installed: the test against it is skipped."

if ! .venv-qgis/bin/python -c '' >/dev/null 2>&1; then
  rm -rf .venv-qgis
  "$QGIS_PYTHON" -m venv --system-site-packages .venv-qgis
fi
echo "Installing the plugin's test tools into .venv-qgis"
.venv-qgis/bin/python -m pip install -q --disable-pip-version-check 'pytest>=8' 'pytest-qgis>=2' 'pytest-timeout>=2.3'
touch .venv/.done
