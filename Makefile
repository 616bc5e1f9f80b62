# make demo   simulate a company, score its leads, credit its channels, answer on loopback
# make test   everything the project claims, checked
# make lint   style and types
# make bench  claims of truth and of speed, measured
# make clean  forget the environment and the demo

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/installed
INSTALLED := $(shell cat $(STAMP) 2>/dev/null)
EXTRAS ?= $(or $(INSTALLED),dev)
BYTECODE ?= --compile-bytecode

.DEFAULT_GOAL := help
.PHONY: help install anew demo test lint bench clean

help:
	@sed -n 's/^# //p' Makefile

install: $(STAMP)

# EXTRAS=dev,spark installs PySpark, too, and later calls keep it. uv lives in the environment it fills. Bytecode is compiled now, or every start would pay for it.
$(STAMP): pyproject.toml constraints.txt $(if $(filter $(EXTRAS),$(INSTALLED)),,anew)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(BYTECODE) \
	    --constraint constraints.txt --editable '.[$(EXTRAS)]'
	echo $(EXTRAS) > $@

demo: $(STAMP)
	$(BIN)/touchstone demo --workspace demo-workspace

## These are half of the work; they run beside the others, and say what they found after them.
APART := $(wildcard $(addprefix tests/test_,$(addsuffix .py,adjusted batch bpic2012 connect_pages connect_round_trip demo \
    documentation erase exploration few_outcomes goals ingestion monitor newcomer notebooks retrain robustness spark \
    spark_answers team train truth)))

test: $(STAMP)
	@said=$$(mktemp); \
	$(BIN)/python -m pytest $(APART) >$$said 2>&1 & apart=$$!; \
	$(BIN)/python -m pytest $(APART:%=--ignore=%); status=$$?; \
	wait $$apart || status=1; cat $$said; rm -f $$said; exit $$status

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python benchmarks/attribution.py
	$(BIN)/python benchmarks/journeys.py
	$(BIN)/python benchmarks/bpic2012.py
	$(BIN)/python benchmarks/leads.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/monitoring.py
	$(BIN)/python benchmarks/scoring.py
	$(BIN)/python benchmarks/features.py
	$(BIN)/python benchmarks/simulation.py
	$(BIN)/python benchmarks/truth.py
	$(BIN)/python benchmarks/pages.py
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/kills.py
	$(BIN)/python benchmarks/connect.py
	! $(BIN)/python -c 'import pyspark' 2>/dev/null || $(BIN)/python benchmarks/spark.py

clean:
	rm -rf .venv demo-workspace *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
