# The commands of Daybreak. `make run` and `make test` need only Python 3.11 or newer, and a network.
# Variables: PYTHON (which Python makes .venv), ARGS (more arguments), JOBS (test processes), ROW (bench).

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11 python,\
	$(shell $(name) -c 'import sys; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/requirements.stamp
DEV_STAMP := $(VENV)/requirements-dev.stamp
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
CODE := agents console reviews tests tools bench manage.py
JOBS ?= auto

.DEFAULT_GOAL := help
.PHONY: help run test check bench drills quirks audit test-external clean

help:
	@echo "make run            start Daybreak on http://127.0.0.1:8000"
	@echo "make test           run the whole test suite"
	@echo "make check          linters, types, templates, migrations, import rules"
	@echo "make test-external  the engine and API tests on Debian's PostgreSQL"
	@echo "make bench          measure the figures this project holds (ROW=name for one)"
	@echo "make drills         the long failure drills"
	@echo "make audit          look the requirements up in the advisory database"

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Daybreak needs Python 3.11 or newer. Set PYTHON=/path/to/python."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "No virtual environment could be made. On Debian: apt install python3-venv."; exit 1; }

$(RUN_STAMP): requirements.txt | $(BIN)/python
	@echo "Installing what Daybreak needs into $(VENV)."
	@$(PIP) -r requirements.txt
	@touch $@

$(DEV_STAMP): requirements-dev.txt requirements.txt | $(BIN)/python
	@echo "Installing what Daybreak and its tests need into $(VENV)."
	@$(PIP) -r requirements-dev.txt
	@touch $(RUN_STAMP) $@

run: $(RUN_STAMP)
	@exec $(BIN)/python manage.py up $(ARGS)

test: $(DEV_STAMP)
	$(BIN)/python -m pytest -m "not drill" -n $(JOBS) --dist loadscope $(ARGS)

test-external: $(DEV_STAMP)
	$(BIN)/python -m tools.external_postgres \
		$(BIN)/python -m pytest -m "external and not drill" -n $(JOBS) --dist loadscope $(ARGS)

check: $(DEV_STAMP)
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/bandit --quiet --recursive --severity-level high --configfile pyproject.toml agents console reviews manage.py
	$(BIN)/djhtml --check templates
	$(BIN)/python -m tools.check_project
	$(BIN)/python -m pytest -q tests/test_architecture.py

bench: $(DEV_STAMP)
	$(BIN)/python -m bench $(ROW) $(ARGS)

drills: $(DEV_STAMP)
	$(BIN)/python -m pytest -m drill -n 2 --dist loadscope --durations=0 --durations-min=1 $(ARGS)

quirks:
	@echo "The quirks benchmark measures dreams. This version does not have them yet."; exit 1

audit: $(DEV_STAMP)
	$(BIN)/pip-audit --requirement requirements.txt

clean:
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis bench-results.json
