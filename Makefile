# Each target creates or refreshes the environment .venv that it runs in.
# To use another Python: make clean, then make PYTHON=/path/to/python3 test

PYTHON   ?=
VENV     := .venv
BIN      := $(VENV)/bin
STAMP    := $(VENV)/.installed
LOWEST   := tests/test_*.py tests/api/test_client.py tests/api/test_listing.py tests/tables/test_arrow.py tests/whole/test_incremental.py tests/whole/test_memory.py tests/whole/test_source.py
# Runs folders of tests that plain pytest leaves out, see pyproject.toml.
ALONE    := -o addopts="-ra --strict-markers --strict-config"
# BigQuery's emulator and DuckLake take half a minute per test, so a selection runs. All tests: make test-warehouses
# WAREHOUSES=bigquery and make test-ducklake DUCKLAKE=ducklake
WAREHOUSES := mariadb and not many_writers or clickhouse or snowflake or this_machine or bigquery and (sequence or with_previous_values or statements)
DUCKLAKE := duckdb or ducklake and (sequence or with_previous_values or writers or types)
# In two runs: a process that has loaded the other engines has no memory left to start PostgreSQL.
TEST_WAREHOUSES := .venv-warehouses/bin/python -m pytest $(ALONE)
ORCHESTRATORS := airflow dagster prefect
# Additional packages of make test-fleet, in the same environment.
MORE_airflow := --group fleet
PARALLEL := --numprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help load bench bench-peers mutants test test-warehouses test-orchestrators check format clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

load: $(STAMP) ## load a local sandbox of the API into a DuckDB file and show its connectors
	@$(BIN)/supermetrics-connectors load --sandbox --include-configs
	@$(BIN)/supermetrics-connectors overview --dataset supermetrics_sandbox

test: $(STAMP) ## run the tests
	@$(BIN)/python -m pytest $(PARALLEL)

test-destinations: $(STAMP) ## run the destination tests on DuckDB, PostgreSQL, SQLite, Delta tables and plain files
	@$(BIN)/python -m pytest $(ALONE) $(PARALLEL) tests/destinations

test-kills: $(STAMP) ## kill loads and break destinations at each boundary between two commits (some minutes)
	@$(BIN)/python -m pytest $(ALONE) $(PARALLEL) tests/kills

test-models: $(STAMP) ## test random histories and random responses
	@$(BIN)/python -m pytest $(ALONE) $(PARALLEL) tests/models

bench: $(STAMP) ## time loads against the same work by hand (some minutes; needs an idle machine)
	@$(BIN)/python -m benchmarks.bench

bench-peers: .venv-peers/.installed bench ## the same, with other tools

test-orchestrators: $(ORCHESTRATORS:%=test-%) ## run the examples in Airflow, Dagster and Prefect

test-report: $(STAMP) .venv-notebook/.installed .venv-axe/.installed ## test the report and the notebook in a Chromium
	@$(INSTALL_CHROMIUM)
	@$(BIN)/python -m pytest $(ALONE) tests/browser

test-wheel: $(STAMP) ## build the wheel and run it in an empty environment
	@$(BIN)/python -m pytest $(ALONE) tests/wheel

test-ducklake: .venv-ducklake/.installed ## run the destination tests on DuckDB 1.5 and DuckLake
	@.venv-ducklake/bin/python -m pytest $(ALONE) $(PARALLEL) tests/destinations -k "$(DUCKLAKE)"

test-fleet: .venv-airflow/.installed ## run Airflow on two Celery workers over 1000 teams, and kill one worker
	@.venv-airflow/bin/python -m pytest tests/orchestrators/test_fleet.py

test-dbt: .venv-dbt/.installed ## run the dbt project on a loaded file
	@.venv-dbt/bin/python -m pytest $(ALONE) tests/dbt

mutants: .venv-mutants/.installed ## mutation testing (half an hour)
	@.venv-mutants/bin/python -m tests.mutants

test-warehouses: .venv-warehouses/.installed ## run the destination tests on MariaDB and on engines or emulators of others
	@$(INSTALL_MARIADB)
	@$(INSTALL_BIGQUERY)
	@if [ -e $< ]; then \
	    $(TEST_WAREHOUSES) tests/warehouses -k postgres && \
	    $(TEST_WAREHOUSES) --numprocesses 2 --dist worksteal tests/warehouses tests/destinations -k "$(WAREHOUSES)"; \
	else \
	    echo "LEFT OUT: every warehouse: these tests need Python 3.11 to 3.14 with venv, for example: python3.13-venv" >&2; \
	fi

test-lowest: .venv-lowest/.installed ## run tests with the lowest allowed versions
	@.venv-lowest/bin/python -m pytest $(PARALLEL) -W default $(LOWEST)
	@.venv-lowest/bin/python -m pytest $(ALONE) $(PARALLEL) -W default tests/destinations -k duckdb

# The packages of two orchestrators conflict, so each has its .venv-NAME.
test-%: .venv-%/.installed
	@.venv-$*/bin/python -m pytest tests/orchestrators/test_$*.py

check: $(STAMP) ## check formatting, lint and types
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m mypy

format: $(STAMP) ## format the code and apply the safe fixes
	@$(BIN)/python -m ruff format .
	@$(BIN)/python -m ruff check --fix .

clean: ## remove environments, caches and build results, but no loaded data
	rm -rf $(VENV) .venv-axe .venv-bigquery .venv-dbt .venv-ducklake .venv-lowest .venv-mutants .venv-peers .venv-warehouses $(ORCHESTRATORS:%=.venv-%) .venv-notebook build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find sources pipelines tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Installs Debian's package if it is missing.
define INSTALL_CHROMIUM
if ! { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null; then \
    if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
        echo "These tests need a Chromium, for example: apt-get install chromium" >&2; \
        exit 1; \
    fi; \
    echo "Installing chromium"; \
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
fi
endef

# Installs Debian's package if it is missing. Without it the tests are left out, and say so at the end.
define INSTALL_MARIADB
if ! { command -v mariadbd || test -x /usr/sbin/mariadbd; } >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
    echo "Installing mariadb-server"; \
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mariadb-server >/dev/null; \
fi
endef

# The emulator needs a newer Python than the project, in an environment of its own.
define INSTALL_BIGQUERY
if ! [ .venv-bigquery/.installed -nt constraints/bigquery.txt ]; then \
    rm -rf .venv-bigquery; \
    $(call FIND_NEWER_PYTHON,3.13); \
    if [ -n "$$found" ]; then \
        echo "Installing an emulator of BigQuery into .venv-bigquery"; \
        "$$found" -m venv .venv-bigquery && .venv-bigquery/bin/python -m pip install --quiet --disable-pip-version-check \
            --no-deps --requirement constraints/bigquery.txt && touch .venv-bigquery/.installed; \
    fi; \
fi
endef

# Finds the first Python that is new enough and can create an environment, also among pyenv's; found is empty otherwise.
define FIND_NEWER_PYTHON
found=; \
for candidate in $(PYTHON) python3 python3.13 python3.14 python3.12 python3.11 $(wildcard $(HOME)/.pyenv/versions/3.1*/bin/python); do \
    "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(not tuple(map(int, "$(1)".split("."))) <= sys.version_info < (3, 15))' 2>/dev/null \
        && { found=$$candidate; break; }; \
done
endef

# Finds the first usable Python that can create an environment (Debian packages ensurepip separately).
define FIND_PYTHON
seen=; \
for candidate in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11 python3.10 python3.14); do \
    version=$$("$$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2]); sys.exit(not (3, 10) <= sys.version_info < (3, 15))' 2>/dev/null) \
        || { [ -z "$$version" ] || seen="$$seen $$candidate ($$version)"; continue; }; \
    "$$candidate" -c 'import ensurepip, venv' 2>/dev/null && { found=$$candidate; break; }; \
    seen="$$seen $$candidate ($$version, without venv/ensurepip: on Debian and Ubuntu install python$$version-venv)"; \
done; \
if [ -z "$$found" ]; then \
    echo "No usable Python. Needed: 3.10 to 3.14 with venv and ensurepip. Found:$${seen:- none}." >&2; \
    echo "Name one with: make PYTHON=/path/to/python3 <target>" >&2; \
    exit 1; \
fi
endef

# Creates an environment that is missing or no longer runs, because it was moved or its Python was removed.
define NEW_VENV
if ! $(1)/bin/python -m pip --version >/dev/null 2>&1; then \
    $(FIND_PYTHON); \
    echo "Creating $(1) with $$found ($$version)"; \
    "$$found" -m venv --clear $(1); \
fi
endef

# The stamp is newer than the files that determine the installation.
$(STAMP): pyproject.toml constraints.txt
	@$(call NEW_VENV,$(VENV))
	@echo "Installing the project and its tools into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --constraint constraints.txt pip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	    --build-constraint constraints.txt --editable . --group dev
	@touch $@

# The packages of these tests are the dependency group of the same name.
.venv-dbt/.installed .venv-ducklake/.installed .venv-lowest/.installed .venv-mutants/.installed .venv-peers/.installed: .venv-%/.installed: pyproject.toml constraints/%.txt
	@$(call NEW_VENV,.venv-$*)
	@echo "Installing the project and what its tests need into .venv-$*"
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --upgrade --constraint constraints/$*.txt pip
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints/$*.txt \
	    --build-constraint constraints/$*.txt --editable . --group $*
	@touch $@

# Snowflake's emulator needs Python 3.11.
.venv-warehouses/.installed: pyproject.toml constraints/warehouses.txt
	@$(call FIND_NEWER_PYTHON,3.11); \
	if [ -n "$$found" ]; then \
	    echo "Installing the project and what its tests need into .venv-warehouses"; \
	    "$$found" -m venv --clear .venv-warehouses && \
	    .venv-warehouses/bin/python -m pip install --quiet --disable-pip-version-check --upgrade --constraint constraints/warehouses.txt pip && \
	    .venv-warehouses/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints/warehouses.txt \
	        --build-constraint constraints/warehouses.txt --editable . --group warehouses && \
	    touch $@; \
	fi

# One script for the browser, unpacked from a wheel.
.venv-axe/.installed: constraints/axe.txt | $(STAMP)
	@echo "Unpacking axe-core into .venv-axe"
	@rm -rf .venv-axe
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --target .venv-axe \
	    --requirement constraints/axe.txt
	@touch $@

.PRECIOUS: .venv-%/.installed
.venv-%/.installed: pyproject.toml constraints/%.txt
	@$(call NEW_VENV,.venv-$*)
	@echo "Installing the project with its extra $* into .venv-$*"
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --upgrade --constraint constraints/$*.txt pip
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints/$*.txt \
	    --build-constraint constraints/$*.txt --editable ".[$*]" pytest $(MORE_$*)
	@touch $@
