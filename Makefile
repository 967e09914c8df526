# make demo | make test | make check: each sets up the virtual environment first.
# The first Python that runs and fits: a name on PATH may be a version manager's empty shim.
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo portable test test-all android lint check bench figures docs clean
setup: $(VENV)/.ready

$(VENV)/.ready: setup.cfg setup.py pyproject.toml runtime/setup.cfg
	@test -n "$(PYTHON)" || { echo "adascale-tf needs Python 3.10, 3.11 or 3.12 with venv; install one, or set PYTHON=/path/to/python"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ./runtime --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/adascale demo --out build/demo

# Python and LiteRT for phones without Python (docs/profiling-over-adb.md); fetched by apt-get and pip, installed here.
portable: setup
	$(BIN)/python -m android_harness.portable --out build/portable --install

# Two processes: many tests wait for a phone, a timer or a child, and TensorFlow is imported twice only.
TESTS := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test: setup
	$(TESTS)

test-all: setup
	$(TESTS) -m ''

# The runtime for Android apps (android/), in Kotlin: built, and tested against what the Python runtime does.
android: setup
	@command -v mvn >/dev/null || { echo "make android needs Maven (mvn) and a JDK of version 17 or later; install both"; exit 2; }
	@mvn --version 2>/dev/null | sed -n 's/^Java version: \([0-9]*\).*/\1/p' | grep -Eq '^(1[7-9]|[2-9][0-9])$$' || \
		{ echo "make android needs a JDK of version 17 or later; install one, or set JAVA_HOME to its folder"; exit 2; }
	rm -rf build/vectors
	$(BIN)/python -m tests.vectors.seams build/vectors
	$(BIN)/python -m tests.vectors.decisions build/vectors
	$(BIN)/python -m tests.vectors.bundles build/vectors
	mvn -B -q -Dstyle.color=never -f android/pom.xml -Dadascale.vectors=$(CURDIR)/build/vectors \
		-Dadascale.litert="$$($(BIN)/python -c 'from adascale_runtime.engines import vendors; print(vendors.wheel_library())')" verify

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test

bench: setup
	$(BIN)/python benchmarks/switching.py build/demo/bundle

# docs/figures.md and the figures of other pages, from benchmarks/results.
figures: setup
	$(BIN)/python benchmarks/figures.py

# The documentation as a website in build/site; needs no network once its packages are installed.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

$(VENV)/.docs: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ./runtime --editable '.[docs]'
	touch $@

clean:
	rm -rf build $(VENV) *.egg-info android/*/target
