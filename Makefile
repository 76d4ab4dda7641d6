# `make run` and `make test` prepare everything they need in .venv: no root, no compiler, no system package.
#
#   PYTHON  an interpreter, 3.11 to 3.13                     make run PYTHON=python3.12
#   TORCH   what pip is told to install as torch; on Linux plain `torch` brings CUDA's libraries
#           along. For the smaller build without them, name the index that PyTorch's site gives:
#                                                            make run TORCH='torch --index-url URL'
#   TESTS   which tests                                      make test TESTS='tests/kernels -x'

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& { echo $$p; break; }; done)
BIN := .venv/bin
PIP = $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt

# Two cores are worth most when idle threads sleep.
export OMP_WAIT_POLICY = passive

.PHONY: help run test test-kernels test-gl docs lint format check bench bench-gpu tune clean
.DEFAULT_GOAL := help

help:
	@echo "make run     learn, distil and evaluate on Dark Room: a report in minutes (runs/dark-room-quick)"
	@echo "make test    the tests"
	@echo "make test-kernels   the Triton kernels without a GPU, interpreted and compiled (Linux, 8 minutes)"
	@echo "make test-gl   the worlds drawn by MiniWorld, in OpenGL; installs it, but no system package"
	@echo "make docs    the guide as a site, in build/docs"
	@echo "make lint    ruff and mypy"
	@echo "make format  let ruff put imports and lines in order"
	@echo "make check   lint and test: what a change must pass"
	@echo "make bench   the benchmarks; keep the machine idle"
	@echo "make bench-gpu  on a machine with a GPU: tests, ceilings, kernels, training, acting, pixels (SECTION=...)"
	@echo "make tune    on a machine with a GPU: search tiles for the kernels, write the tables"
	@echo "make clean   remove .venv and caches; runs/ stays"

run: .venv/installed
	@$(BIN)/adbench run dark-room --preset quick --out runs/dark-room-quick

# One thread a worker: two would take turns on each core.
test: .venv/installed-dev
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal \
		-p no:benchmark --durations 10 $(TESTS)

# Environments of their own for two versions of Triton, inside .venv; what they need to download is
# 0.4 GB, once.
test-kernels: .venv/installed-dev
	@$(BIN)/python tests/kernels/environments.py

# What it needs besides, it names: libraries of OpenGL, which only root can install.
test-gl: .venv/installed-gl
	@ADBENCH_REQUIRE=gl OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/envs/opengl \
		--numprocesses auto --maxprocesses 8 --dist worksteal -p no:benchmark --durations 5

# A link that leads nowhere is an error, and so is a page that no table of contents names.
docs: .venv/installed-docs
	@$(BIN)/python -m sphinx -W --keep-going -q -E -d build/doctrees docs build/docs
	@echo "build/docs/index.html"

lint: .venv/installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: .venv/installed-dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

check: lint test

bench: .venv/installed-bench
	@$(BIN)/python -m pytest benchmarks --benchmark-json=benchmarks/results/latest.json

# On a machine with a GPU: whatever Python has torch and Triton there will do, no network needed.
# SECTION: tests, ceilings, attention, ring, patch_embed, render, train, evaluate, pixels, suite; GPU=--smoke and
# the like are passed on.
GPU_PYTHON ?= $(firstword $(wildcard $(BIN)/python) $(PYTHON))

bench-gpu:
	@PYTHONPATH=.:kernels:envs $(GPU_PYTHON) -m benchmarks.gpu $(addprefix --section ,$(SECTION)) $(GPU)

tune:
	@PYTHONPATH=.:kernels $(GPU_PYTHON) -m benchmarks.tune $(GPU)

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .benchmarks build dist

# torch first and alone, so that TORCH's index serves nothing else.
.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "adbench needs Python 3.11, 3.12 or 3.13; none was found. Name one: make $(or $(MAKECMDGOALS),run) PYTHON=/path/to/python3"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "adbench needs Python 3.11, 3.12 or 3.13; PYTHON=$(PYTHON) is $$($(PYTHON) --version 2>&1)"; exit 2; }
	@echo "set-up 1/3: .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv
	@echo "set-up 2/3: torch (the largest download, once)"
	@$(PIP) $(or $(TORCH),torch)
	@echo "set-up 3/3: adbench and what it needs"
	@$(PIP) --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	@echo "set-up: tools for tests and checks"
	@$(PIP) --editable '.[dev]'
	@touch $@

.venv/installed-bench: .venv/installed-dev
	@echo "set-up: Stable-Baselines3, a peer"
	@$(PIP) --editable '.[dev,bench]'
	@touch $@

.venv/installed-docs: .venv/installed-dev
	@echo "set-up: tools for the site"
	@$(PIP) --editable '.[dev,docs]'
	@touch $@

.venv/installed-gl: .venv/installed-dev
	@echo "set-up: MiniWorld"
	@$(PIP) --editable '.[dev,miniworld]'
	@touch $@
