# Each target sets up what it needs: a virtual environment in the checkout (Python 3.11 to 3.13).
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for one in python3 python3.13 python3.12 python3.11; do \
  $$one -c '$(FITS)' 2>/dev/null && echo $$one && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TESTED := $(VENV)/.ready-dev
WRITTEN := $(VENV)/.ready-docs
DEMO := demo

.PHONY: help demo test test-slow test-all faults test-oldest test-pythons check docs package pictures format clean

help:
	@echo "make demo    set everything up and run the whole method on a known answer"
	@echo "make test    set everything up and run the quick tests (about 7 minutes); says what it leaves out"
	@echo "make test-all   every test; make test-slow: those that make test leaves out"
	@echo "make faults  kills, full disks, damaged files ... by the hundred (N=0.1: a tenth of them)"
	@echo "make test-oldest   the quick tests with the oldest packages that pyproject.toml allows"
	@echo "make test-pythons  the quick tests with every Python 3.11 to 3.13 that is at hand"
	@echo "make check   linter, types and layers"
	@echo "make docs    build the site into site/, without warnings"
	@echo "make package wheel and sdist, checked and installed in clean environments"
	@echo "make pictures  pictures of the documents, from the demo (needs chromium)"
	@echo "make format  format the code"
	@echo "make clean   remove the demo and caches (the environment stays)"

$(READY): pyproject.toml
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(FITS)' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "setting up $(VENV) (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $(READY)

$(TESTED): $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,dev]'
	@touch $(TESTED)

demo: $(READY)
	$(BIN)/alphacryo4d demo --o $(DEMO) --overwrite

# two processes of one thread each, so that matrix products do not wait for each other's threads
ONE := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
PYTEST := $(ONE) $(BIN)/python -m pytest -n 2 --dist loadfile

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

# the lower bounds of pyproject.toml, one by one; what these require in turn is the newest that fits
OLDEST := .venv-oldest
OLDEST_PYTHON ?= python3.11
$(OLDEST)/.ready: pyproject.toml
	@test -x $(OLDEST)/bin/python || $(OLDEST_PYTHON) -m venv $(OLDEST)
	@$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(OLDEST)/bin/uv pip install --quiet --python $(OLDEST)/bin/python \
	  --resolution lowest-direct -e '.[test]'
	@touch $(OLDEST)/.ready

test-oldest: $(OLDEST)/.ready
	$(ONE) $(OLDEST)/bin/python -m pytest -n 2 --dist loadfile -m "not slow" -W ignore::DeprecationWarning $(PYTEST_ARGS)

# each in an environment of its own, .venv-3.12 and so on
PYTHONS ?= python3.11 python3.12 python3.13 $(wildcard $(HOME)/.pyenv/versions/3.1[123].*/bin/python)
test-pythons:
	@done=; for one in $(PYTHONS); do \
	  version=$$($$one -c '$(FITS)' 2>/dev/null && \
	    $$one -c 'import sys; print("%d.%d" % sys.version_info[:2])') || continue; \
	  case " $$done " in *" $$version "*) continue;; esac; \
	  done="$$done $$version"; echo "== Python $$version"; \
	  $(MAKE) --no-print-directory test PYTHON=$$one VENV=.venv-$$version || exit 1; \
	done; echo "tested with Python$$done"

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

package: $(TESTED)
	FROM=$(abspath $(BIN)/python) bash scripts/build_check.sh

pictures: demo $(TESTED)
	$(BIN)/python scripts/pictures.py $(DEMO)

format: $(TESTED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(DEMO) site .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
