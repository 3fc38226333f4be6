# make help lists what there is. Everything lands in .venv/ and .cache/; nothing needs root.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-fast test-oldest bench soak lint measures docs format parts clean

PYTHON ?= python3
ARGS ?=
VENV_PYTHON := .venv/bin/python
DEMO_PARTS := micropython64 micropython32 mosquitto influxd simple2

help:  ## list the targets
	@echo "motetrace: follow one sensor reading from the microcontroller to the database"
	@sed -n 's/^\([a-z-]*\):[^#]*## *\(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

demo: .venv/.demo.stamp  ## run the demo on real parts (make demo ARGS=--forever: until Ctrl-C)
	@$(VENV_PYTHON) .ci/parts.py $(DEMO_PARTS)
	@$(VENV_PYTHON) examples/demo/demo.py $(ARGS)

test: .venv/.dev.stamp  ## run every test (make test ARGS="-k seqref": some)
	@$(VENV_PYTHON) .ci/parts.py all
	@$(VENV_PYTHON) -m pytest -n 2 --dist worksteal $(ARGS)

test-fast: .venv/.dev.stamp  ## run the tests that take seconds, not minutes
	@$(VENV_PYTHON) .ci/parts.py all
	@$(VENV_PYTHON) -m pytest -n 2 --dist worksteal -m "not slow" --examples 0.05 $(ARGS)

test-oldest: .venv/.dev.stamp  ## run tests with the oldest versions of libraries that pyproject.toml allows
	@$(VENV_PYTHON) .ci/oldest.py base
	@$(VENV_PYTHON) .ci/oldest.py shim

bench: .venv/.dev.stamp  ## measure against the obvious ways, as ratios
	@$(VENV_PYTHON) .ci/parts.py all
	@$(VENV_PYTHON) -m tests.benchmarks $(ARGS)

soak: .venv/.dev.stamp  ## ten minutes of random faults (make soak ARGS="--minutes 2 --seed 7")
	@$(VENV_PYTHON) .ci/parts.py all
	@$(VENV_PYTHON) -m tests.soak $(ARGS)

lint: .venv/.dev.stamp  ## check style, formatting, types, and how large and tangled the code is
	@$(VENV_PYTHON) -m ruff check
	@$(VENV_PYTHON) -m ruff format --check
	@$(VENV_PYTHON) -m mypy
	@$(VENV_PYTHON) .ci/measures.py

measures: .venv/.dev.stamp  ## print how large and how tangled the code is, and what is beyond the limits
	@$(VENV_PYTHON) .ci/measures.py

docs: .venv/.dev.stamp  ## write docs/api.md anew from the docstrings
	@$(VENV_PYTHON) .ci/api.py

format: .venv/.dev.stamp  ## put the code into its format
	@$(VENV_PYTHON) -m ruff check --fix-only --quiet
	@$(VENV_PYTHON) -m ruff format

parts: .venv/.demo.stamp  ## fetch the real parts (MicroPython, mosquitto, InfluxDB, Valkey) and list them
	@$(VENV_PYTHON) .ci/parts.py all --list

clean:  ## remove .venv and .cache
	rm -rf .venv .cache

.venv/.%.stamp: pyproject.toml .ci/environment.py
	@command -v $(PYTHON) >/dev/null || { echo "no $(PYTHON) on PATH; motetrace needs Python 3.11 or newer (make PYTHON=/path/to/python3 demo)"; exit 1; }
	@$(PYTHON) .ci/environment.py $*
