# make run     set up, start the pipeline and its pages (with no settings file: the demo street)
# make test    set up, check style, types and structure, run every test
# make bench   set up, measure; results under benchmarks/results/, score card docs/scorecard.md
# make clean   remove what was built (never data/)
#
# Needs Python 3.11 or newer and nothing else. Another Python: make run PYTHON=python3.13
# Options for a command: make run ARGS="--settings my.yaml", make test ARGS="-k sessions"
# Which lines no test runs (takes twice the time): make test ARGS=--cov

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin

.PHONY: help run test bench clean lock format setup setup-dev servers lint types structure docs-check tests
.NOTPARALLEL:

help:
	@sed -n 's/^# make/make/p' Makefile

run: setup
	@exec $(BIN)/python -m hp_pipeline.cli run $(ARGS)

test: lint types structure docs-check tests

bench: setup-dev
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -f .coverage .coverage.*
	find hp_pipeline hp_pipeline_tests benchmarks scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# Resolve pyproject.toml anew; make lock ARGS=--upgrade takes the newest versions.
lock: python
	$(PYTHON) scripts/lock $(ARGS)

format: setup-dev
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

.PHONY: python
python:
	@command -v $(PYTHON) >/dev/null || { echo "No '$(PYTHON)' here: install Python 3.11 or newer, or name one: make run PYTHON=/path/to/python3.12" >&2; exit 1; }

setup: python
	@$(PYTHON) scripts/setup

setup-dev: python
	@$(PYTHON) scripts/setup --dev

# Real servers that some tests talk to; the script says loudly what it could not install.
servers: setup-dev
	scripts/install_test_servers

lint: setup-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: setup-dev
	$(BIN)/mypy --strict

structure: setup-dev
	$(BIN)/lint-imports

docs-check: setup-dev
	$(BIN)/python -m hp_pipeline.cli docs --check

tests: setup-dev servers
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)
