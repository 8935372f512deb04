# What one does with a checkout. Every target sets itself up: it makes .venv, and installs what it needs
# there, once for each pyproject.toml. No other environment is looked at or touched.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# More arguments for the programs behind the targets, as in: make test PYTEST_ARGS="-k trim -x"
PYTEST_ARGS ?=
DEMO_ARGS ?=
BENCH_ARGS ?=
TORTURE_ARGS ?=
FUZZ_ARGS ?=
FAULTS_ARGS ?=
SOAK_ARGS ?=

# The environment of `make test-oldest`.
OLDEST := .venv-oldest

# An active environment's settings would lead .venv's Python to foreign packages.
unexport PYTHONHOME
unexport PYTHONPATH
unexport VIRTUAL_ENV
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Two pips in one environment, under `make -j`, would spoil it.
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test test-oldest check docs dist bench torture fuzz faults soak notebooks clean

help:
	@echo "make demo        load a year of weather, query it, draw it, and consume a day of flights"
	@echo "make test        run the tests; PYTEST_ARGS=... goes to pytest,"
	@echo "                 WALRUS_TS_TEST_URL=redis://... names another server than the embedded one"
	@echo "make test-oldest run them with the oldest packages that pyproject.toml allows, in $(OLDEST)"
	@echo "make check       ruff, mypy and the order of imports"
	@echo "make docs        the documentation, in docs/_build/html"
	@echo "make dist        the packages for an index, in dist/, and a try of them outside the checkout"
	@echo "make bench       measure loading and reading; BENCH_ARGS=... goes to the benchmarks"
	@echo "make torture     consume while workers, connections and servers are killed; TORTURE_ARGS=..."
	@echo "make fuzz        read replies of any bytes, as hiredis does; FUZZ_ARGS=... goes to the fuzzer"
	@echo "make faults      load and read while connections, servers and processes fail; FAULTS_ARGS=..."
	@echo "make soak        work for ten minutes, and see that nothing grows; SOAK_ARGS=..."
	@echo "make notebooks   run notebooks/*.ipynb anew, in place"
	@echo "make clean       remove .venv, caches, and whatever the targets above have made"

demo: $(VENV)/.installed-demo
	@$(BIN)/walrus-ts demo $(DEMO_ARGS)

test: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

# Packages as old as these know nothing of what others, newer than they, have called deprecated since.
test-oldest: $(OLDEST)/.installed-test
	@$(OLDEST)/bin/python -m pytest -W ignore::DeprecationWarning -W ignore::PendingDeprecationWarning $(PYTEST_ARGS)

# All four run, so that one round shows all there is to mend.
check: $(VENV)/.installed-dev
	@failed=; \
	for tool in "ruff check" "ruff format --check" "mypy" "lint-imports --no-logo"; do \
		echo "== $$tool"; \
		$(BIN)/$$tool || failed="$$failed, $$tool"; \
	done; \
	if [ -n "$$failed" ]; then echo "failed: $${failed#, }" >&2; exit 1; fi

docs: $(VENV)/.installed-docs
	@$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@$(BIN)/python docs/links.py docs/_build/html
	@echo "docs/_build/html/index.html"

dist: $(VENV)/.installed-dev
	@rm -rf dist
	@$(BIN)/python -m build > /dev/null
	@$(BIN)/twine check --strict dist/*
	@$(BIN)/python -m tests.dist

bench: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.benchmarks $(BENCH_ARGS)

torture: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.torture $(TORTURE_ARGS)

fuzz: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

faults: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.faults $(FAULTS_ARGS)

soak: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.soak $(SOAK_ARGS)

# One after the other, each from its first cell, in a kernel of .venv's own Python: `python3` is the kernel
# that comes with ipykernel, and in JUPYTER_DATA_DIR none of the user's own can stand in its place. What differs from run
# to run, times, progress bars and the state of widgets, is not stored.
notebooks: $(VENV)/.installed-notebook $(VENV)/.installed-demo
	@set -- notebooks/*.ipynb; \
	if [ ! -e "$$1" ]; then echo "there are no notebooks in notebooks/"; exit 0; fi; \
	for notebook; do \
		echo "== $$notebook"; \
		TQDM_DISABLE=1 JUPYTER_DATA_DIR="$$PWD/$(VENV)/share/jupyter" $(BIN)/jupyter nbconvert --log-level=WARN \
			--to notebook --execute --inplace --ExecutePreprocessor.kernel_name=python3 \
			--ExecutePreprocessor.record_timing=False --ExecutePreprocessor.store_widget_state=False \
			--NotebookExporter.preprocessors=nbconvert.preprocessors.CoalesceStreamsPreprocessor \
			"$$notebook" || exit 1; \
	done; \
	echo "notebooks that ran: $$#"

clean:
	rm -rf $(VENV) $(OLDEST) build dist docs/_build docs/generated docs/notebooks
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A file that says: these extras are installed, as pyproject.toml has them now. (% is the extra's name.) Where .venv
# is gone or its Python no longer runs, the files say nothing, and all is made anew.
no-venv := $(shell $(BIN)/python -c '' 2>/dev/null || echo no-venv)
.PHONY: no-venv

$(VENV)/.installed-%: pyproject.toml $(no-venv)
	@echo "== installing walrus_ts[$*] into $(VENV)"
	@$(BIN)/python -m pip install -q -q -e ".[$*]"
	@touch $@

$(OLDEST)/.installed-test: pyproject.toml tests/oldest.py
	@echo "== installing walrus_ts[test] into $(OLDEST), with the oldest packages that it allows"
	@$(PYTHON) -m venv --clear $(OLDEST)
	@$(PYTHON) -m tests.oldest > $(OLDEST)/constraints.txt
	@$(OLDEST)/bin/python -m pip install -q -q -e ".[test]" -c $(OLDEST)/constraints.txt
	@touch $@

no-venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "walrus_ts needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "== making $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
