# Two commands for a newcomer: `make demo` and `make test`. Each sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint test-trainers clean

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

test: $(STAMP)
	$(BIN)/python -m pytest tests

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The trainers' own loaders (LLaMA-Factory, verl) need an environment of their own: several GB, made once.
test-trainers: $(STAMP)
	bash tests/trainers/make_env.sh
	.venv-train/bin/python -m pytest tests/trainers

clean:
	rm -rf demo $(VENV) .venv-train
