# Two commands matter: `make serve` and `make test`. Both install what they need into .venv first.
PYTHON ?= python3
HOST ?= 0.0.0.0
PORT ?= 3000
PROFILE ?= $(or $(MAEUM_PROFILE),embedded)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BENCH_INSTALLED := $(VENV)/.installed-bench
SUITES ?=

# BentoML would tell its makers of every start, and which paths were asked for.
export BENTOML_DO_NOT_TRACK := True

.PHONY: serve test check format models clips lock build bench

# A home for each port: BentoML keeps the metrics in its home, and a second server would wipe those of the first.
serve: $(INSTALLED)
	@$(BIN)/python scripts/check_port.py "$(PORT)"
	mkdir -p build/bentoml-$(PORT)
	BENTOML_HOME=$(CURDIR)/build/bentoml-$(PORT) MAEUM_PROFILE=$(PROFILE) $(BIN)/bentoml serve service:Maeum --host $(HOST) --port $(PORT)

test: $(INSTALLED)
	$(BIN)/python -m pytest

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The production models, at pinned revisions, with a lock of every file's hash.
models: $(INSTALLED)
	$(BIN)/maeum models fetch --profile production

# The spoken test clips, made anew with espeak-ng.
clips: $(INSTALLED)
	$(BIN)/python scripts/make_test_clips.py

build: $(INSTALLED)
	$(BIN)/bentoml build

# Every benchmark, or those in SUITES; a few minutes each.
bench: $(BENCH_INSTALLED)
	$(BIN)/python -m benchmarks $(SUITES)

# New locks from pyproject.toml, made in an environment of its own: what serves, and what develops beside it.
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet torch==2.13.0
	build/lock/bin/pip install --quiet --editable .
	scripts/freeze.sh build/lock/bin/pip > requirements-serve.lock
	build/lock/bin/pip install --quiet --editable '.[train,evaluate,dev]'
	scripts/freeze.sh build/lock/bin/pip > requirements.lock

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("maeum needs Python 3.11 or later: name one, as in make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

# The servers to compare with; no version in the lock changes.
$(BENCH_INSTALLED): $(INSTALLED) benchmarks/requirements.txt
	$(BIN)/pip install --quiet --no-deps --requirement benchmarks/requirements.txt
	touch $@
