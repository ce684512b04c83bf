# The menu. `make` prints it. Every recipe is a plain command that can be typed by hand (README.md).

PYTHON ?= python3
PORT ?= 8501
VENV := .venv
BIN := $(VENV)/bin

# The stamps stand for what is installed, so that an install is repeated only when its inputs change.
APP_STAMP := $(VENV)/.installed-app
TEST_STAMP := $(VENV)/.installed-test

.DEFAULT_GOAL := help
.PHONY: help install run test crash lint format bench docs build clean chromium

help: ## print this menu
	@echo "Curation Atlas"
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile

install: $(TEST_STAMP) ## make .venv with the app and everything its tests need

run: $(APP_STAMP) ## build the sample dataset and serve the app on 127.0.0.1 (PORT=8501)
	$(BIN)/curate demo --no-browser --port $(PORT)

test: $(TEST_STAMP) chromium ## run every test, the slow and the browser ones too
	$(BIN)/python -m pytest

crash: $(TEST_STAMP) ## kill builds and curators 20 times instead of a few, and fill disks
	CURATE_TEST_KILLS=20 $(BIN)/python -m pytest \
	  tests/embeddings/test_safety.py tests/embeddings/test_migrations.py \
	  tests/curation/test_journal_crash.py

lint: $(TEST_STAMP) ## ruff, mypy and the import directions, without changing a file
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(TEST_STAMP) ## let ruff rewrite the files
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(TEST_STAMP) ## run the quick benchmarks (one alone: make bench ONLY=ingest)
	$(BIN)/python benchmarks/run.py --quick $(if $(ONLY),--only $(ONLY))

docs: $(TEST_STAMP) ## write the generated parts of docs/
	$(BIN)/python docs/generate.py

build: $(TEST_STAMP) ## wheel and sdist into dist/
	$(BIN)/python -m build

clean: ## remove what tools left behind; .venv and the datasets stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find embeddings curation tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

# A .venv that stopped half-way has no pip: it is made again from nothing.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Curation Atlas needs Python 3.11 or newer, and '$(PYTHON)' is not that." \
	    "Name one that is: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); \
	  echo "$(PYTHON) could not make .venv. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
	  exit 1; }

$(APP_STAMP): pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(TEST_STAMP): pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[test]"
	@touch $(APP_STAMP) $@

# The browser tests drive the system's Chromium. Where it is absent, apt-get brings it.
chromium:
	@command -v chromium >/dev/null && exit 0; \
	fail() { echo "The browser tests need chromium on PATH: $$1" >&2; exit 1; }; \
	command -v apt-get >/dev/null || fail "there is no apt-get here, install it your system's way."; \
	AS=; [ "`id -u`" = 0 ] || AS=sudo; \
	[ -z "$$AS" ] || command -v sudo >/dev/null || fail "as root, run: apt-get install chromium"; \
	$$AS apt-get -q update </dev/null && \
	$$AS env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends chromium \
	  </dev/null || fail "apt-get could not install it (its own words are above)."
