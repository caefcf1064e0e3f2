# make run     analyse a sample library, or your own: make run LIBRARY=~/Music
# make test    set up and run all tests
PYTHON ?= python3
LIBRARY ?=
READY := .venv/.ready

.PHONY: run test lint lock clean

run: $(READY)
ifeq ($(LIBRARY),)
	.venv/bin/genremill sample .sample
	.venv/bin/genremill run .sample
else
	.venv/bin/genremill run "$(LIBRARY)"
endif

test: $(READY)
	.venv/bin/python -m pytest

lint: $(READY)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

$(READY): requirements-dev.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "genremill needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --requirement requirements-dev.lock
	.venv/bin/pip install --quiet --no-deps --editable .
	touch $@

# requirements.lock: what runs; requirements-dev.lock: that, and what tests
lock:
	$(PYTHON) -m venv .lock
	.lock/bin/pip install --quiet torch==2.13.0 && .lock/bin/pip install --quiet .
	.lock/bin/pip freeze --exclude genremill | sed 's/+cpu//' > requirements.lock
	.lock/bin/pip install --quiet '.[dev]'
	.lock/bin/pip freeze --exclude genremill | sed 's/+cpu//' > requirements-dev.lock
	rm -rf .lock

clean:
	rm -rf .venv .sample build *.egg-info
