# make demo | make test | make check: each sets up the virtual environment first.
PYTHON ?= $(shell for v in 3.12 3.11 3.10; do command -v python$$v >/dev/null 2>&1 && { echo python$$v; break; }; done || echo python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test test-all lint check bench clean
setup: $(VENV)/.ready

$(VENV)/.ready: setup.cfg setup.py pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 10) <= sys.version_info[:2] < (3, 13) else "adascale-tf needs Python 3.10, 3.11 or 3.12; set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/adascale demo --out build/demo

test: setup
	$(BIN)/python -m pytest

test-all: setup
	$(BIN)/python -m pytest -m ''

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test

bench: setup
	$(BIN)/python benchmarks/switching.py build/demo/bundle

clean:
	rm -rf build $(VENV) *.egg-info
