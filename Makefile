# Each target sets up what it needs: a virtual environment in the checkout (Python 3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TESTED := $(VENV)/.ready-dev
WRITTEN := $(VENV)/.ready-docs
DEMO := demo

.PHONY: help demo test test-slow test-all faults check docs format clean

help:
	@echo "make demo    set everything up and run the whole method on a known answer"
	@echo "make test    set everything up and run the quick tests (about 6 minutes); says what it leaves out"
	@echo "make test-all   every test; make test-slow: those that make test leaves out"
	@echo "make faults  kills, full disks, damaged files ... by the hundred (N=0.1: a tenth of them)"
	@echo "make check   linter, types and layers"
	@echo "make docs    build the site into site/, without warnings"
	@echo "make format  format the code"
	@echo "make clean   remove the demo and caches (the environment stays)"

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "setting up $(VENV) (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $(READY)

$(TESTED): $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,dev]'
	@touch $(TESTED)

demo: $(READY)
	$(BIN)/alphacryo4d demo --o $(DEMO) --overwrite

PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile

test: $(TESTED)
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-slow: $(TESTED)
	$(PYTEST) -m slow $(PYTEST_ARGS)

test-all: $(TESTED)
	$(PYTEST) $(PYTEST_ARGS)

# the whole battery of faults: N=1 is as many trials as the table asks, N=0.1 a tenth. Trials on
# record that survived are not made again: a battery that was stopped goes on; ROWS='kills disk'
# are some rows, MINUTES=10 ends every row then, NEW=yes begins anew
N ?= 1
ROWS ?= *
MINUTES ?= 100000
FIGURES := $(VENV)/faults.jsonl
faults: $(TESTED)
	@test -z "$(NEW)" || rm -f $(FIGURES)
	FAULTS=$(N) FAULTS_SECONDS=$$((60 * $(MINUTES))) FAULTS_RECORD=$(abspath $(FIGURES)) \
	  $(PYTEST) $(foreach row,$(ROWS),$(wildcard tests/faults/rows_$(row).py)) $(PYTEST_ARGS); \
	  code=$$?; $(BIN)/python scripts/faults_table.py $(FIGURES) docs/reliability.md; exit $$code

check: $(TESTED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

$(WRITTEN): $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $(WRITTEN)

docs: $(WRITTEN)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(TESTED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(DEMO) site .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
