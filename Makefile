# The two commands of the README, and what CI calls.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: run test huey differential lint bench transfer clean

run: $(VENV)/run.stamp
	$(BIN)/twistd -n --pidfile= mctwist --interface 127.0.0.1 --port 11211 --storage ./mctwist-data $(ARGS)

test: $(VENV)/test.stamp
	REQUIRE_SERVERS=$(REQUIRE_SERVERS) $(BIN)/python -b -W error -m pytest $(ARGS)

# Ten thousand tasks, with and without a kill of the server; the suite does some hundreds.
huey: $(VENV)/test.stamp
	HUEY_TASKS=10000 $(BIN)/python -b -W error -m pytest tests/test_huey.py $(ARGS)

# All that is asked of mctwist and of Redis or memcached alike; the suite asks a part of it.
differential: $(VENV)/test.stamp
	DIFFERENTIAL=all REQUIRE_SERVERS=$(REQUIRE_SERVERS) $(BIN)/python -b -W error -m pytest \
		tests/test_redis_differential.py tests/test_differential_binary.py $(ARGS)

lint: $(VENV)/lint.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/bench.stamp
	$(BIN)/python -m bench $(ARGS)

# A million items out of one server and into another, and back.
transfer: $(VENV)/test.stamp
	$(BIN)/python -m bench.transfer $(ARGS)

clean:
	rm -rf $(VENV) dist bench/work _trial_temp*

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/run.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/bench.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[tls]'
	touch $@ $(VENV)/run.stamp

$(VENV)/test.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@ $(VENV)/run.stamp

$(VENV)/lint.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[lint]'
	touch $@ $(VENV)/test.stamp $(VENV)/run.stamp
