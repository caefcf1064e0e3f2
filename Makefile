# The targets, each with a line of help: make help

PYTHON ?= python3
LIBRARY ?=
READY := .venv/.ready
PYTEST := .venv/bin/python -m pytest

.PHONY: help run test test-unit robustness mutants lint format types check bench lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: $(READY) ## analyse a sample library, or yours: make run LIBRARY=~/Music
ifeq ($(LIBRARY),)
	.venv/bin/genremill sample .sample
	.venv/bin/genremill run .sample
else
	.venv/bin/genremill run "$(LIBRARY)"
endif

test: $(READY) ## set up, and run all tests but the slow ones of robustness
	$(PYTEST)

test-unit: $(READY) ## the tests that need no Redis and no PostgreSQL
	$(PYTEST) tests/unit

robustness: $(READY) ## broken files by the thousand through the decoders
	.venv/bin/python -m tests.robustness.fuzz

mutants: $(READY) ## small mistakes put into the code: do the tests notice them?
	.venv/bin/pip install --quiet --editable '.[mutants]'
	.venv/bin/python -m tests.robustness.mutants

lint: $(READY) types ## style, names and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

format: $(READY) ## put the code into the project's format
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

types: $(READY) ## types alone
	.venv/bin/mypy

check: lint test ## what has to hold of a commit

bench: $(READY) ## what this machine does with the default model
	.venv/bin/genremill bench

$(READY): requirements-dev.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "genremill needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --requirement requirements-dev.lock
	.venv/bin/pip install --quiet --no-deps --editable .
	touch $@

# requirements.lock: what runs; requirements-dev.lock: that, and what tests
lock: ## write the lock files anew
	$(PYTHON) -m venv .lock
	.lock/bin/pip install --quiet torch==2.13.0 && .lock/bin/pip install --quiet .
	.lock/bin/pip freeze --exclude genremill | sed 's/+cpu//' > requirements.lock
	.lock/bin/pip install --quiet '.[dev]'
	.lock/bin/pip freeze --exclude genremill | sed 's/+cpu//' > requirements-dev.lock
	rm -rf .lock

clean: ## remove what was set up
	rm -rf .venv .sample build *.egg-info
