# `make demo` and `make test` need only git, make and python3 (3.11 or newer), the tests exiftool as well; everything else
# goes into .venv.
PYTHON ?= python3
TORCH ?= 2.13.0
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test proof lint install clean

demo: $(INSTALLED)
	$(BIN)/framepack generate examples/harbour.jpg --prompt "the camera pans left" --seconds 1.2 --output outputs/demo.mp4 --overwrite

test: $(INSTALLED) lint
	$(BIN)/pytest

# Kills, damages, loads and matrices: what takes too long for every change.
proof: $(INSTALLED)
	$(BIN)/pytest -m proof --timeout 3600

lint: $(INSTALLED)
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/pyright
	$(BIN)/lint-imports

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet torch==$(TORCH)
	$(BIN)/pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv outputs
