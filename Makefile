# Two commands: `make reproduce` (everything, from set-up to figures) and `make test`. Both set up on their own, once.
# Another Python: make PYTHON=python3.12 reproduce. Another scale: make SCALE=smoke reproduce. Fewer cores: CORES=1.

PYTHON ?= python3
SCALE ?= quick
CORES ?= all
CLIENTS ?= ../clients
VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DELETE_ON_ERROR:
.PHONY: setup reproduce figures test test-wheel test-slurm test-clients calibrate lint format schemas

reproduce: $(STAMP)
	$(BIN)/snakemake --cores $(CORES) --config scale=$(SCALE)
	@echo "Figures: figures/$(SCALE)/   Tables: results/$(SCALE)/"

figures: $(STAMP)
	$(BIN)/python -m dm2.scripts.draw_figures

calibrate: $(STAMP)
	$(BIN)/python -m dm2.scripts.calibrate

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --dist loadfile

test-wheel: $(STAMP)
	$(BIN)/python -m pytest tests/packaging --wheel

test-slurm: $(STAMP)
	$(BIN)/python -m pytest tests/slurm --slurm

test-clients: $(STAMP)
	$(BIN)/python -m pytest tests/adapters/test_clients.py --clients $(CLIENTS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check workflow
	$(BIN)/snakemake --lint

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt workflow

schemas: $(STAMP)
	$(BIN)/python -m dm2.scripts.make_schemas

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "error: `$(PYTHON) --version` found, Python 3.11 or newer expected; name one: make PYTHON=python3.12" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install torch==2.13.0
	$(BIN)/python -m pip install -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install -c constraints.txt --no-deps pysc2
	$(BIN)/python -m dm2.scripts.compile_kernels
	touch $@
