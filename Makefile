# `make demo` needs only a Python 3.11 or newer; everything else goes into $(VENV).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The exact versions that everything is tested with (`make lock`).
LOCK ?= requirements-lock.txt
# --no-compile: of the libraries' thousands of modules only those that are imported need it, and then it is done anyway.
PIP := python -m pip install --disable-pip-version-check --quiet --no-compile
INSTALL := $(BIN)/$(PIP) --constraint $(LOCK) --editable
# What looks after the dependencies, in an environment of its own.
TOOLS := $(VENV)-tools
# It is done even where the environment forbids it: compiling torch's modules anew doubles the start of every process.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-fast soak check docs container-check lock latest sbom licences clean

demo: $(VENV)/.installed
	$(BIN)/conrec demo

# The files in the order of tests/conftest.py, each with one worker, so that what its tests share is made once.
WORKERS := -n auto --dist loadfile --no-loadscope-reorder

# One thread a worker: the workers already use all cores.
test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(WORKERS)

# Without what trains a model, runs a pipeline, opens a browser or measures on a whole data set.
test-fast: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(WORKERS) -m "not slow"

# The long forms of what must survive (docs/reliability.md); some three hours.
soak: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.soak.crash runs/soak --kills 50
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.soak.load runs/soak-load --seconds 3600
	$(BIN)/python -m tests.soak.flood runs/soak-flood
	$(BIN)/$(PIP) atheris
	for target in events lines picture recipe wire history; do \
		$(BIN)/python -m tests.soak.fuzz $$target runs/soak-fuzz --seconds 200 || exit 1; \
	done
	$(BIN)/python -m benchmarks.attack demo --out runs/attack

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

# The newest versions that pyproject.toml allows, for every platform and Python from 3.11 on. Then `make test`.
RESOLVE = $(TOOLS)/bin/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate \
	--custom-compile-command 'make lock' --upgrade pyproject.toml --output-file

lock: $(TOOLS)/.installed
	$(RESOLVE) requirements-lock.txt

# What those would change, and whether everything works with them; the lock file stays.
latest: $(TOOLS)/.installed
	$(RESOLVE) $(VENV)-latest.txt
	-diff requirements-lock.txt $(VENV)-latest.txt
	$(MAKE) test VENV=$(VENV)-latest LOCK=$(VENV)-latest.txt

# dist/sbom.json: all that is installed here for the tests, as CycloneDX.
sbom: $(VENV)/.installed-dev $(TOOLS)/.installed
	mkdir -p dist
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-file dist/sbom.json $(BIN)/python

# docs/licences.md: their licences, the same.
licences: $(VENV)/.installed-dev $(TOOLS)/.installed
	sed '/^| Name/,$$d' docs/licences.md > docs/licences.new
	$(TOOLS)/bin/pip-licenses --python $(BIN)/python --format markdown --from mixed --ignore-packages conrec pip setuptools \
		| sed 's/  */ /g; s/|-[-|]*/|---|---|---|/' >> docs/licences.new
	mv docs/licences.new docs/licences.md

$(TOOLS)/.installed:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/$(PIP) 'uv>=0.9,<1' 'cyclonedx-bom>=7,<8' 'pip-licenses>=5,<6'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "conrec needs Python 3.11 or newer; call: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml $(LOCK) | $(BIN)/python
	$(INSTALL) '.[train]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml $(LOCK) | $(BIN)/python
	$(INSTALL) '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml $(LOCK) | $(BIN)/python
	$(INSTALL) '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) $(TOOLS) $(VENV)-latest* runs dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
