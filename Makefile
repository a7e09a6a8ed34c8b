# What a person does with this project. `make demo` and `make test` set up all that they need.

SHELL := /bin/bash
PY := .venv/bin/python
RASTER ?= build/sample/sample.tif
SOURCES := $(shell find csrc -type f) setup.py pyproject.toml metadata.txt constraints.txt tools/setup.sh
export ROTACUBE_DATA ?= $(abspath ../shared/data)

.PHONY: setup demo test test-backend test-computing test-learning test-plugin test-e2e test-asan test-full test-qgis-matrix fuzz test-kills lint format plugin wheel screenshots bench-ops bench-train bench-map bench-view bench-frames models-table modules train-pack rival ablations choose-again panels clean

setup: .venv/.done  ## Environments, compiled operators, system packages where missing

.venv/.done: $(SOURCES)
	tools/setup.sh

build/sample/sample.tif: $(wildcard backend/rotacube/training/drawn/*.py) | setup
	mkdir -p build/sample
	$(PY) -m rotacube.training.drawn.scenes $@ --seed 2 --height 1536 --width 2048 --nodata-corner

demo: setup $(RASTER) plugin  ## The main job in real QGIS; RASTER=path takes another orthophoto
	$(PY) tools/qgis_demo.py $(RASTER) build/demo

# QGIS waits for much of its time: what only computes does so meanwhile, on what it leaves.
test: setup  ## All tests
	@mkdir -p build
	@nice -n 19 $(MAKE) -k --no-print-directory test-learning test-computing >build/test-computing.log 2>&1 & computing=$$!; \
	  trap 'kill $$computing 2>/dev/null' EXIT; \
	  $(MAKE) --no-print-directory test-plugin && $(MAKE) --no-print-directory test-e2e && \
	  $(MAKE) --no-print-directory test-backend || exit; \
	  wait $$computing; code=$$?; cat build/test-computing.log; exit $$code

COMPUTING := $(addprefix tests/,cuda handout models networks nn ops raster training treatment vector)
LEARNING := tests/networks/test_learning.py

# Networks of every family, one by one.
test-learning: setup
	$(PY) -m pytest $(LEARNING) -n 2 --dist worksteal

# Files whole: their fixtures are dear.
test-computing: setup
	$(PY) -m pytest $(COMPUTING) --ignore=$(LEARNING) -n 2 --dist loadfile

# All that runs programs, servers and jobs. One process more than most machines here have cores: many tests wait.
test-backend: setup
	$(PY) -m pytest tests $(addprefix --ignore=,tests/plugin tests/e2e $(COMPUTING)) -n 3 --dist loadfile

test-full: setup  ## Every network at its published width: learns, is saved, loaded and exported; an hour, 16 GiB
	ROTACUBE_FULL=1 $(PY) -m pytest $(LEARNING) tests/networks/test_further.py

test-plugin: setup
	xvfb-run -a -s "-screen 0 1500x1000x24" .venv-qgis/bin/python -m pytest tests/plugin

test-e2e: setup plugin
	$(PY) -m pytest tests/e2e

test-qgis-matrix: setup  ## The plugin's tests in QGIS of other Debian suites, each in a chroot; root; SUITES="trixie sid"
	tools/qgis_matrix.sh

# tests/ops/test_sanitizer.py fails where the library in use is not this one.
ASAN_LIBRARY := build/asan/rotacube/_lib/librotacube_cpu.so
$(ASAN_LIBRARY): $(SOURCES) | setup
	ROTACUBE_SANITIZE=address ROTACUBE_REQUIRE_EXT=1 ROTACUBE_SKIP_CUDA=1 \
	  $(PY) setup.py -q build_ext --build-lib build/asan --build-temp build/asan/temp

test-asan: setup $(ASAN_LIBRARY)  ## The operators' tests, the CPU library under AddressSanitizer; minutes to build
	ROTACUBE_LIBRARY_FOLDER=$(abspath $(dir $(ASAN_LIBRARY))) ROTACUBE_EXPECT_SANITIZER=1 \
	  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	  LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so)" \
	  $(PY) -m pytest tests/ops --timeout 3000

FUZZ_ARGUMENTS ?=
fuzz: setup  ## Damaged rasters, cards and weights, minutes; FUZZ_ARGUMENTS="--count 2000", "--seed S --case N"
	$(PY) tests/fuzz/fuzz.py $(FUZZ_ARGUMENTS)

test-kills: setup  ## N runs (100) killed at random moments and as many resumed with all products, and full disks
	$(PY) tests/fuzz/fuzz_kills.py --kills $(or $(N),100) --resumes $(or $(N),100)

lint: setup  ## Style and types; changes nothing
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/clang-format --dry-run --Werror $(shell find csrc -name '*.cpp' -o -name '*.h' -o -name '*.cu')

format: setup
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
	.venv/bin/clang-format -i $(shell find csrc -name '*.cpp' -o -name '*.h' -o -name '*.cu')

plugin: setup  ## dist/rotacube-<version>.zip for QGIS's "Install from ZIP"
	$(PY) tools/make_plugin.py

wheel: setup  ## The backend with its compiled operators and weights, in dist/
	$(PY) -m pip wheel -q --no-deps --no-build-isolation -w dist .

screenshots: setup $(RASTER) plugin  ## The pictures in docs/; PICTURES="map roofs species grid" makes some of them
	$(PY) tools/screenshots.py $(RASTER) $(PICTURES)

DEVICE ?= cpu
BENCH_PAGE := docs/results/ops$(if $(filter cuda,$(DEVICE)),-cuda).md
bench-ops: setup  ## The operators against PyTorch's own; DEVICE=cuda on a GPU, RECORD=1 writes docs/results
	.venv/bin/rotacube bench ops --device $(DEVICE) --json build/bench/ops$(if $(filter cuda,$(DEVICE)),-cuda).json \
	  $(if $(RECORD),--record $(BENCH_PAGE)) $(BENCH_ARGUMENTS)

models-table: setup  ## The networks' sizes beside the published ones, to docs/results/models.md
	.venv/bin/rotacube models table

modules: setup  ## Which room imports which, drawn from the imports into docs/architecture.md
	$(PY) tools/draw_modules.py

train-%: setup  ## A recipe's model from nothing, an hour or two of two CPU cores; killed, it goes on; needs ROTACUBE_DATA
	.venv/bin/rotacube train $* --output build/train/$*/model $(TRAIN_ARGUMENTS)

rival: setup  ## Mask R-CNN for 1,500 steps on the crops of rooftop-lite: docs/results/mask-rcnn.md; half an hour
	$(PY) -m rotacube.training.rival rooftop-lite build/train/rival docs/results/mask-rcnn.md schedule.steps=1500

ablations: setup  ## The papers' ablations with three seeds each: docs/results/ablations.md; hours; killed, it goes on
	$(PY) -m rotacube.training.ablations build/train/ablations docs/results/ablations.md $(STUDIES)

bench-train: setup  ## A training step of RI-UNet with each way to compute it: docs/results/train.md; WIDTH=0.25 takes minutes, 1 hours
	$(PY) -m rotacube.bench.train docs/results/train.md $(WIDTH)

bench-map: setup  ## From a raster to its map, against the network alone: docs/results/map.md; some minutes
	$(PY) -m rotacube.bench.map docs/results/map.md

bench-view: setup  ## Roofs of what a canvas shows, against the network alone: docs/results/view.md; a minute
	$(PY) -m rotacube.bench.view docs/results/view.md

bench-frames: setup  ## 200 made flights: intervals, places; memory and time of frames: docs/results/frames.md; a quarter of an hour
	$(PY) -m rotacube.bench.frames docs/results/frames.md

OPEN := $(addprefix rooftop/,kampala banepa dhaka negatives)
train-pack:  ## The rooftop imagery for training elsewhere: what may teach what ships, and the rest; below 64 MiB each
	mkdir -p build/pack
	tar -C $(ROTACUBE_DATA) -czf build/pack/open.tar.gz $(OPEN)
	tar -C $(ROTACUBE_DATA) -czf build/pack/research.tar.gz $(addprefix --exclude=,$(OPEN)) rooftop
	ls -l build/pack

choose-again: setup  ## The cuts and figures on the card of a model that ships, chosen and measured anew; MODEL=rooftop-lite
	$(PY) -m rotacube.training.finish $(MODEL) resources/models/$(MODEL)

panels: setup  ## Image, truth and prediction of held-out tiles of the models that ship, to docs/panels
	for model in $(notdir $(wildcard resources/models/*)); do \
	  $(PY) -m rotacube.training.report resources/models/$$model docs/panels/$$model || exit; done

clean:
	rm -rf build dist .venv .venv-qgis backend/*.egg-info
