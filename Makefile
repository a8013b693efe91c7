# Everything runs in .venv, which each target builds or refreshes by itself.
# To build it with another Python: make clean, then make PYTHON=/path/to/python3 test

PYTHON   ?=
VENV     := .venv
BIN      := $(VENV)/bin
STAMP    := $(VENV)/.installed
DATABASE := supermetrics_connectors.duckdb
LOWEST   := tests/test_*.py tests/api/test_client.py tests/api/test_listing.py tests/tables/test_arrow.py tests/whole/test_incremental.py tests/whole/test_memory.py tests/whole/test_source.py tests/whole/test_upgrade.py
# For folders of tests that plain pytest leaves out, see pyproject.toml.
ALONE    := -o addopts="-ra --strict-markers --strict-config"
# BigQuery's emulator and DuckLake take half a minute a test. All of them: make test-warehouses WAREHOUSES=bigquery and
# make test-ducklake DUCKLAKE=ducklake
WAREHOUSES := mariadb and not many_writers or clickhouse or snowflake or this_machine or bigquery and (sequence or told_with or statements)
DUCKLAKE := duckdb or ducklake and (sequence or told_with or writers or types)
# Twice: a process that holds the engines of the others has reserved so much memory that it cannot start PostgreSQL.
TEST_WAREHOUSES := .venv-warehouses/bin/python -m pytest $(ALONE)
ORCHESTRATORS := airflow dagster prefect
# What make test-fleet needs besides, in the same environment.
MORE_airflow := --group fleet
PARALLEL := --numprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help load bench bench-peers mutants test test-warehouses test-orchestrators check format clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

load: $(STAMP) ## load a local sandbox of the API into a DuckDB file and query it
	@$(BIN)/supermetrics-connectors load --sandbox --include-configs
	@echo
	@echo "The connectors updated last, by team (./$(DATABASE)):"
	@$(BIN)/python -c "$$FIRST_QUERY" $(DATABASE)

test: $(STAMP) ## run the tests
	@$(BIN)/python -m pytest $(PARALLEL)

test-destinations: $(STAMP) ## try every promise on DuckDB, PostgreSQL, SQLite, Delta tables and plain files
	@$(BIN)/python -m pytest $(ALONE) $(PARALLEL) tests/destinations

test-kills: $(STAMP) ## kill loads and break destinations at each boundary between two commits (some minutes)
	@$(BIN)/python -m pytest $(ALONE) $(PARALLEL) tests/kills

test-models: $(STAMP) ## try random years of a customer, and random answers, against the promises
	@$(BIN)/python -m pytest $(ALONE) $(PARALLEL) tests/models

bench: $(STAMP) ## time loads against the same work by hand (some minutes; wants an idle machine)
	@$(BIN)/python -m benchmarks.bench

bench-peers: .venv-peers/.installed bench ## the same, and by other tools

test-orchestrators: $(ORCHESTRATORS:%=test-%) ## run the examples by Airflow, Dagster and Prefect themselves

test-report: $(STAMP) .venv-notebook/.installed .venv-axe/.installed ## try the report, the notebook and dlt's dashboard in a Chromium
	@$(INSTALL_CHROMIUM)
	@$(BIN)/python -m pytest $(ALONE) tests/browser

test-wheel: $(STAMP) ## build the wheel, and run it where nothing else is
	@$(BIN)/python -m pytest $(ALONE) tests/wheel

test-ducklake: .venv-ducklake/.installed ## run the tests of the destinations with DuckDB 1.5 and DuckLake
	@.venv-ducklake/bin/python -m pytest $(ALONE) $(PARALLEL) tests/destinations -k "$(DUCKLAKE)"

test-fleet: .venv-airflow/.installed ## run Airflow on two Celery workers over 1000 teams, and kill one
	@.venv-airflow/bin/python -m pytest tests/orchestrators/test_fleet.py

test-dbt: .venv-dbt/.installed ## run the dbt project over a file that was loaded
	@.venv-dbt/bin/python -m pytest $(ALONE) tests/dbt

mutants: .venv-mutants/.installed ## change what must not break, line by line: do the tests notice? (half an hour)
	@.venv-mutants/bin/python -m tests.mutants

test-warehouses: .venv-warehouses/.installed ## run the tests of the destinations with MariaDB and with engines or emulators of others
	@$(INSTALL_MARIADB)
	@$(INSTALL_BIGQUERY)
	@if [ -e $< ]; then \
	    $(TEST_WAREHOUSES) tests/warehouses -k postgres && \
	    $(TEST_WAREHOUSES) --numprocesses 2 --dist worksteal tests/warehouses tests/destinations -k "$(WAREHOUSES)"; \
	else \
	    echo "LEFT OUT: every warehouse: these tests need Python 3.11 to 3.14 with venv, for example: python3.13-venv" >&2; \
	fi

test-lowest: .venv-lowest/.installed ## run tests with the lowest versions that are allowed
	@.venv-lowest/bin/python -m pytest $(PARALLEL) -W default $(LOWEST)
	@.venv-lowest/bin/python -m pytest $(ALONE) $(PARALLEL) -W default tests/destinations -k duckdb

# An orchestrator's packages do not go together with another's: each has its .venv-NAME.
test-%: .venv-%/.installed
	@.venv-$*/bin/python -m pytest tests/orchestrators/test_$*.py

check: $(STAMP) ## check formatting, lint and types
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m mypy

format: $(STAMP) ## format the code and apply the safe fixes
	@$(BIN)/python -m ruff format .
	@$(BIN)/python -m ruff check --fix .

clean: ## remove .venv, caches and build results; loaded data stays
	rm -rf $(VENV) .venv-axe .venv-bigquery .venv-dbt .venv-ducklake .venv-lowest .venv-mutants .venv-peers .venv-warehouses $(ORCHESTRATORS:%=.venv-%) .venv-notebook build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find sources pipelines tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The three connectors of each team that were updated last.
define FIRST_QUERY
import sys, duckdb
con = duckdb.connect(sys.argv[1], read_only=True)
con.execute("set timezone = 'UTC'")
print(con.sql("""
    select team_id, name, connector_identifier, updated_at
    from supermetrics.connectors
    qualify row_number() over (partition by team_id order by updated_at desc, connector_identifier) <= 3
    order by team_id, updated_at desc, connector_identifier
    limit 30
"""))
endef
export FIRST_QUERY

# Debian's, where none is there and apt may install it.
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

# Debian's, where none is there and apt may install it. What cannot be had is left out, and the tests say so at their end.
define INSTALL_MARIADB
if ! { command -v mariadbd || test -x /usr/sbin/mariadbd; } >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
    echo "Installing mariadb-server"; \
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mariadb-server >/dev/null; \
fi
endef

# An environment of its own: the emulator needs a newer Python than the project.
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

# The first Python that is new enough and can build a venv, also of those that pyenv has put aside; nothing if there is none.
define FIND_NEWER_PYTHON
found=; \
for candidate in $(PYTHON) python3 python3.13 python3.14 python3.12 python3.11 $(wildcard $(HOME)/.pyenv/versions/3.1*/bin/python); do \
    "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(not tuple(map(int, "$(1)".split("."))) <= sys.version_info < (3, 15))' 2>/dev/null \
        && { found=$$candidate; break; }; \
done
endef

# A Python that will do, and can build a venv (Debian splits ensurepip off): the first of PYTHON or the usual names.
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

# A venv that is not there or no longer runs (moved, or its Python removed) is made anew.
define NEW_VENV
if ! $(1)/bin/python -m pip --version >/dev/null 2>&1; then \
    $(FIND_PYTHON); \
    echo "Creating $(1) with $$found ($$version)"; \
    "$$found" -m venv --clear $(1); \
fi
endef

# The stamp is newer than what it was installed from.
$(STAMP): pyproject.toml constraints.txt
	@$(call NEW_VENV,$(VENV))
	@echo "Installing the project and its tools into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --constraint constraints.txt pip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	    --build-constraint constraints.txt --editable . --group dev
	@touch $@

# The tests' own packages are the dependency group of the same name.
.venv-dbt/.installed .venv-ducklake/.installed .venv-lowest/.installed .venv-mutants/.installed .venv-peers/.installed: .venv-%/.installed: pyproject.toml constraints/%.txt
	@$(call NEW_VENV,.venv-$*)
	@echo "Installing the project and what its tests need into .venv-$*"
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --upgrade --constraint constraints/$*.txt pip
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints/$*.txt \
	    --build-constraint constraints/$*.txt --editable . --group $*
	@touch $@

# What emulates Snowflake needs Python 3.11.
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

# No environment: one script for the browser, out of a wheel.
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
