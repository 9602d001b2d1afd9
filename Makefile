# Two commands for a newcomer: `make demo` and `make test`. Each sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test fuzz lint test-trainers smoke clean

$(STAMP): pyproject.toml constraints/dev.txt
	@echo "Setting up $(VENV) (about a minute) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "medcurate needs Python 3.11 or newer; name one: make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints/dev.txt --editable ".[dev]"
	@touch $@

demo: $(STAMP)
	@rm -rf demo
	$(BIN)/curate score examples/raw -o demo/curated --judge --judge-url demo --declare-deidentified dicom
	$(BIN)/curate export demo/curated --format llamafactory-cpt -o demo/exports/llamafactory-cpt
	$(BIN)/curate export demo/curated --format llamafactory-sft -o demo/exports/llamafactory-sft
	$(BIN)/curate export demo/curated --format verl -o demo/exports/verl
	$(BIN)/curate validate demo/exports/llamafactory-cpt demo/exports/llamafactory-sft demo/exports/verl
	@echo "Corpus: demo/curated  Exports: demo/exports  Your own data: source $(BIN)/activate, then curate score RAW --judge"

# Two at a time, a file in one process: most tests wait for commands that they start. More would disturb those that time.
test: $(STAMP)
	$(BIN)/python -m pytest tests -n 2 --dist loadfile

# 20,000 damaged records, pictures and files through every command; `make test` takes a part of them.
fuzz: $(STAMP)
	FUZZ_MUTANTS=20000 $(BIN)/python -m pytest tests/faults/test_hostile_mutants.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The trainers' own loaders (LLaMA-Factory, verl) need an environment of their own: several GB, made once.
test-trainers: $(STAMP)
	bash curate/adapters/make_env.sh smoke
	.venv-train/bin/python -m pytest tests/trainers

# CPT, SFT and GRPO for real, on a tiny model and a CPU; `make smoke SEED=1` takes other weights, data and order.
SEED ?= 0
smoke: $(STAMP)
	bash curate/adapters/make_env.sh smoke
	@rm -rf work/smoke-$(SEED)
	recipes/run_all.sh --smoke --seed $(SEED) -o work/smoke-$(SEED)

clean:
	rm -rf demo work $(VENV) .venv-train
