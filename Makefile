PYTHON ?= python3
BIN := .venv/bin
# The tests start hundreds of processes, and each would compile the program again.
unexport PYTHONDONTWRITEBYTECODE
# One more than cores: many tests wait for a server or a process.
WORKERS := $(shell expr $$(nproc) + 1)
# Tests of the driver that take half a minute: what it does while a server answers or does not.
SAMPLE := tests/servers/test_lock.py tests/servers/test_sessions.py
FAST := --numprocesses $(WORKERS) --dist worksteal -m "not servers and not programs and not slow"

.PHONY: help demo demo-export test test-cluster test-mysql test-galera test-lowest test-newest soak lint docs deb image lock bench
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/installed ## Make a small world in demo-world and sync it
	rm -rf demo-world
	$(BIN)/chatsync demo demo-world

demo-export: .venv/installed-dev ## Make the same world with an export in a simulated YT in demo-export, and compare with it
	rm -rf demo-export
	@$(BIN)/python -m tests.harness.export_world demo-export

test: .venv/installed-dev ## Run the tests on MariaDB, with coverage (ARGS: pytest's)
	@tests/install-mariadb.sh
	@$(BIN)/pytest --cov --numprocesses $(WORKERS) --dist loadfile $(ARGS)

test-fast: .venv/installed-dev ## Run the quick tests that need no server (ARGS: pytest's)
	@$(BIN)/python -m pytest $(FAST) $(ARGS)
	@echo "This was not everything: make test runs also the slow tests and those on MariaDB, promtool, curl and a browser, and measures coverage."

test-cluster: .venv/installed-cluster ## Run the tests of the comparison on a clique, on a real ClickHouse (ARGS: pytest's)
	@$(BIN)/python -m pytest tests/cluster $(ARGS)

test-mysql: .venv/installed-dev ## Run the tests on Oracle's MySQL, from Debian unstable (ARGS: pytest's)
	@mysqld=$$(tests/fetch-mysql.sh) && export CHATSYNC_TEST_MYSQLD="$$mysqld" && \
		tests/install-mariadb.sh && $(BIN)/pytest --cov --numprocesses auto --dist loadfile $(ARGS)

test-galera: .venv/installed-dev ## Run the tests on a Galera cluster of two nodes behind HAProxy (ARGS: pytest's)
	@tests/install-mariadb.sh galera
	@CHATSYNC_TEST_GALERA=1 $(BIN)/pytest tests/servers/test_galera.py $(ARGS)

test-lowest: .venv/installed-dev ## Run the fast tests, and some on MariaDB, on the lowest versions that pyproject.toml allows
	@tests/install-mariadb.sh
	@$(call fast-tests-on,lowest-direct)
	@.venv-lowest-direct/bin/python -m pytest -p no:cacheprovider $(SAMPLE)

test-newest: .venv/installed-dev ## Run the fast tests on the newest versions that pyproject.toml allows
	@$(call fast-tests-on,highest)

soak: .venv/installed-dev ## Sync for long, with faults (ARGS: its options)
	@tests/install-mariadb.sh
	@$(BIN)/python -m tests.soak $(ARGS)

lint: .venv/installed-dev ## Check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: .venv/installed-dev ## Write the generated parts of README.md and docs/ again
	@$(BIN)/python -m tests.harness.readme

deb: .venv/installed-dev ## Build dist/chatsync_*.deb for the Debian that this is
	@deploy/debian/build.sh $(BIN)

image: | $(BIN)/python ## Build the container image chatsync with buildah and run the demo in it (BASE: the image to build on)
	@deploy/image.sh $(BIN)

lock: .venv/installed-dev ## Resolve the newest allowed versions into requirements/, which all installs take
	@requirements/lock.sh $(BIN)

bench: .venv/installed-dev ## Measure time and memory with large lists (ARGS: its options)
	@tests/install-mariadb.sh
	@$(BIN)/python -m bench $(ARGS)

# Versions and hashes are those of requirements/: pip takes them from whatever index it is set up for.
install = $(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/build.txt --requirement $(1) && \
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .

.venv/installed: pyproject.toml requirements/build.txt requirements/run.txt | $(BIN)/python
	$(call install,requirements/run.txt)
	@touch $@

.venv/installed-dev: pyproject.toml requirements/build.txt requirements/dev.txt | $(BIN)/python
	$(call install,requirements/dev.txt)
	@touch $@ .venv/installed

.venv/installed-cluster: pyproject.toml requirements/build.txt requirements/cluster.txt | $(BIN)/python
	$(call install,requirements/cluster.txt)
	@touch $@ .venv/installed .venv/installed-dev

# A virtual environment of its own, made again each time: what is left of another resolution would hide what is missing.
fast-tests-on = $(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-$(1) && \
	$(BIN)/uv pip install --quiet --python .venv-$(1) --resolution $(1) --editable '.[dev]' && \
	.venv-$(1)/bin/python -m pytest -p no:cacheprovider $(FAST) $(ARGS)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("chatsync needs Python 3.11 or newer; try: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }
