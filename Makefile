# Two commands matter: `make demo` and `make test`. Both set up everything they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
HOME_DIR ?= .demo

.PHONY: demo test check bench fmt clean

demo: $(STAMP)
	@$(BIN)/upnext demo --home $(HOME_DIR) $(if $(DATA),--data $(DATA)) $(if $(ONCE),--once)

test: $(STAMP)
	$(BIN)/pytest

check: $(STAMP)
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/pytest tests/test_layers.py

bench: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[peers]'
	$(BIN)/python benchmarks/run_all.py

fmt: $(STAMP)
	$(BIN)/ruff check --fix src tests benchmarks
	$(BIN)/ruff format src tests benchmarks

clean:
	rm -rf $(VENV) .demo build

# Pinned by constraints.txt. PyTorch's CPU build comes first and by its exact version, so that no other is looked for.
$(STAMP): pyproject.toml constraints.txt
	./scripts/setup.sh $(PYTHON) $(VENV)
	@touch $@
