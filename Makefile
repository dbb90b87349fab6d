PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed
NEW_ENOUGH = import sys; sys.version_info >= (3, 11) or sys.exit("the versions in constraints.txt need Python 3.11: make PYTHON=python3.11")
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-all test-without-vnni mutants fuzz lint docs bench bench-gpu pins image-test clean

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -c '$(NEW_ENOUGH)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $(STAMP)

demo: $(STAMP)
	PATH="$(abspath $(BIN)):$$PATH" sh scripts/demo.sh

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-all: lint
	EDGENAS_TESTS_COLD=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'slow or not slow'

# the path of x86-64 processors without VNNI, on one that has it (CONTRIBUTING.md)
test-without-vnni: $(STAMP)
	$(BIN)/python scripts/without_vnni.py -- $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

mutants: $(STAMP)
	$(BIN)/python scripts/mutants.py

# five minutes of inputs that are nearly right; FUZZ="--minutes 60 --seed 7 bundle" for more, again, or one target
fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz $(FUZZ)

docs: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(STAMP)
	$(BIN)/python -m benchmarks.throughput

# nine minutes a call; where it stops for that (python's exit code 75) the same command goes on. GPU="--data-dir DIR" and others
bench-gpu: $(STAMP)
	$(BIN)/python -m benchmarks.gpu $(GPU)

pins:
	PYTHON=$(PYTHON) sh scripts/pin.sh

image-test:
	sh scripts/image_test.sh

clean:
	rm -rf $(VENV) build dist site
