PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test test-mysql soak lint docs bench
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/installed ## Make a small world in demo-world and sync it
	rm -rf demo-world
	$(BIN)/chatsync demo demo-world

test: .venv/installed-dev ## Run the tests on MariaDB, with coverage (ARGS: pytest's)
	@tests/install-mariadb.sh
	@$(BIN)/pytest --cov --numprocesses auto --dist loadfile $(ARGS)

test-fast: .venv/installed-dev ## Run the tests that need no server, in less than a minute (ARGS: pytest's)
	@$(BIN)/python -m pytest --numprocesses auto --dist worksteal -m "not servers and not programs" $(ARGS)
	@echo "This was not everything: make test runs also the tests on MariaDB, promtool and curl, and measures coverage."

test-mysql: .venv/installed-dev ## Run the tests on Oracle's MySQL, from Debian unstable (ARGS: pytest's)
	@mysqld=$$(tests/fetch-mysql.sh) && export CHATSYNC_TEST_MYSQLD="$$mysqld" && \
		tests/install-mariadb.sh && $(BIN)/pytest --cov --numprocesses auto --dist loadfile $(ARGS)

soak: .venv/installed-dev ## Sync for long, with faults (ARGS: its options)
	@tests/install-mariadb.sh
	@$(BIN)/python -m tests.soak $(ARGS)

lint: .venv/installed-dev ## Check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: .venv/installed-dev ## Write the generated parts of README.md and docs/ again
	@$(BIN)/python -m tests.harness.readme

bench: .venv/installed-dev ## Measure time and memory with large lists (ARGS: its options)
	@tests/install-mariadb.sh
	@$(BIN)/python -m bench $(ARGS)

.venv/installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ .venv/installed

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("chatsync needs Python 3.11 or newer; try: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }
