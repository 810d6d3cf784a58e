# `make demo` needs only a Python 3.11 or newer; everything else goes into $(VENV).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# --no-compile: of the libraries' thousands of modules only those that are imported need it, and then it is done anyway.
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet --no-compile --editable
# It is done even where the environment forbids it: compiling torch's modules anew doubles the start of every process.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-fast soak check docs container-check clean

demo: $(VENV)/.installed
	$(BIN)/conrec demo

# The files in the order of tests/conftest.py, each with one worker.
WORKERS := -n auto --dist loadgroup --no-loadscope-reorder

# One thread a worker: the workers already use all cores.
test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(WORKERS)

# Without what trains a model, runs a pipeline, opens a browser or measures on a whole data set.
test-fast: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(WORKERS) -m "not slow"

# Kills at random moments of everything that writes (docs/reliability.md); an hour.
soak: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.soak.crash runs/soak --kills 50

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site in site/; a link that leads nowhere is an error.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# What deploy/Dockerfile does, without Docker.
container-check:
	$(PYTHON) deploy/check.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "conrec needs Python 3.11 or newer; call: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(INSTALL) '.[train]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(INSTALL) '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml | $(BIN)/python
	$(INSTALL) '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) runs dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
