# Everything that is needed beyond Python, make and a C++ compiler is set up here, once, in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CPUS := $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)

# pip builds llama.cpp with cmake and ninja of its own, and keeps the wheel in its cache for the next .venv.
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(CPUS)
# With AVX512-FP16 llama.cpp adds up values 128 at a time, and one by one in heads of 64 (docs/performance.md).
ifneq ($(shell c++ -march=native -dM -E -x c++ /dev/null 2>/dev/null | grep AVX512FP16),)
export CMAKE_ARGS ?= -DCMAKE_C_FLAGS=-mno-avx512fp16 -DCMAKE_CXX_FLAGS=-mno-avx512fp16
endif

.DEFAULT_GOAL := help
.PHONY: help demo test lint types format bench cmake-args clean

help: ## show these targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(VENV)/.runtime ## start a host with the demo model, ask it a question, stream the answer
	@$(BIN)/api-host demo

test: lint types ## lint, types, and all tests
	$(BIN)/python -m pytest

lint: $(VENV)/.tests ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.tests ## mypy
	$(BIN)/mypy

format: $(VENV)/.tests ## put the code into ruff's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.tests ## measure beside llama.cpp's own programs; one to two hours
	$(BIN)/python -m bench

cmake-args: # what llama.cpp is built with, for bench/build.py
	@echo '$(subst ','\'',$(CMAKE_ARGS))'

clean: ## remove .venv and what tools have left (pip's cache keeps the built wheel)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build dist
	find api_host client demo_model tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "make: Python 3.10 or newer is needed; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "make: no virtual environment could be made; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

$(VENV)/.runtime: $(BIN)/python pyproject.toml client/pyproject.toml
	@echo "Setting up $(VENV); building llama.cpp takes about 5 minutes on 2 cores, the first time only."
	@$(BIN)/python -m pip install --quiet -e ./client -e . || { \
	  echo "make: the installation failed, the reason stands above; building llama.cpp needs a C++ compiler" \
	       "(Debian and Ubuntu: apt install g++; macOS: xcode-select --install)" >&2; exit 1; }
	@touch $@

$(VENV)/.tests: $(VENV)/.runtime
	@$(BIN)/python -m pip install --quiet -e ./client -e '.[test]'
	@touch $@
