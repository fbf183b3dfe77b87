# mmentropy: `make demo` and `make test` do all their set-up from nothing; they need Python (3.10 or newer) and make.
PYTHON ?= python3
VENV ?= .venv
FAMILY ?= onedl
# cpu takes the builds of torch without CUDA's libraries, which are 6 GB, from the folder of that name under TORCH_INDEX.
TORCH ?=
TORCH_INDEX ?=
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(FAMILY)
# The tested pins belong to the maintained family; the original one brings its own, older partners.
CONSTRAINTS := $(if $(filter onedl,$(FAMILY)),-c requirements/constraints.txt)
TORCH_OF_FAMILY := $(if $(filter onedl,$(FAMILY)),torch,'torch<2.6')
JOBS ?= 2

.PHONY: install demo test lint format bench docs clean
.DEFAULT_GOAL := help

help:
	@echo "make install   a virtual environment in $(VENV) with everything (FAMILY=onedl, openmmlab-lite or openmmlab)"
	@echo "               TORCH=cpu TORCH_INDEX=ADDRESS takes torch without CUDA: 6 GB less"
	@echo "make demo      train the plain CAM and the entropy model on drawn images, table and picture in work_dirs/demo"
	@echo "make test      all tests"
	@echo "make lint      ruff and mypy"
	@echo "make bench     all benchmarks side by side, written to docs/benchmarks.md; continues where it was stopped"
	@echo "make docs      the manual, in docs/_build/html; any warning is an error"
	@echo "make clean     remove caches and $(VENV)"

install: $(STAMP)

$(STAMP): setup.py requirements/constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    { echo "error: mmentropy needs Python 3.10 or newer, $(PYTHON) is older; set PYTHON=python3.11, say"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip
ifneq ($(TORCH),)
	@test -n "$(TORCH_INDEX)" || { echo "error: TORCH=$(TORCH) needs TORCH_INDEX, the address above $(TORCH) in the" \
	    "command that PyTorch's page 'Start locally' shows for it"; exit 1; }
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) --index-url $(TORCH_INDEX)/$(TORCH) $(TORCH_OF_FAMILY) torchvision
endif
ifeq ($(FAMILY),openmmlab)
	@# mmcv's set-up needs old setuptools, and finds torch to compile its operators with only outside of pip's own
	@# build environment: half an hour on two cores.
	$(BIN)/python -m pip install --quiet 'torch<2.6' torchvision 'numpy<2' 'setuptools<81' wheel ninja psutil
	MMCV_WITH_OPS=1 $(BIN)/python -m pip install --quiet --no-build-isolation 'mmcv>=2.0,<2.2'
endif
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) -e '.[$(FAMILY),test]'
	@# The usual dense CRF, to compare ours with: it needs a compiler, and builds on Python 3.10 to 3.12.
	@$(BIN)/python -m pip install --quiet pydensecrf2 2>/dev/null || echo 'note: pydensecrf2 does not build here; its tests skip'
	@touch $@

demo: install
	$(BIN)/python tools/demo.py

test: install
	$(BIN)/python -m pytest -n $(JOBS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install
	$(BIN)/python benchmarks/suite.py

# Sphinx comes with this target alone: the tests do not need it.
docs: install
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) -e '.[$(FAMILY),docs]'
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
