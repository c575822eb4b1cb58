# `make demo` and `make test` need only git, make and python3 (3.11 or newer), the tests exiftool as well; everything else
# goes into .venv.
PYTHON ?= python3
TORCH ?= 2.13.0
BIN := .venv/bin
INSTALLED := .venv/.installed

# PyTorch's CUDA build, 0.6 GB, and the card that is not there are put here.
FAKE_GPU_HOME ?= $(HOME)/.cache/framepack-fake-gpu

.PHONY: demo test proof fake-gpu audit lint reference install clean

demo: $(INSTALLED)
	$(BIN)/framepack generate examples/harbour.jpg --prompt "the camera pans left" --seconds 1.2 --output outputs/demo.mp4 --overwrite

test: $(INSTALLED) lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --durations 25

# Kills, damages, loads and matrices: what takes too long for every change.
proof: $(INSTALLED)
	$(BIN)/pytest -m proof --timeout 3600

# Whole 13 B jobs on cards that are not there: real allocator, streams and events, nothing computed. Linux on x86-64, g++.
fake-gpu: $(INSTALLED)
	$(BIN)/python tests/fake_cuda/build.py $(FAKE_GPU_HOME)
	FAKE_GPU_HOME=$(FAKE_GPU_HOME) $(BIN)/pytest tests/fake_cuda -m proof --timeout 3600

# Known holes in what is installed. Asks PyPI's and OSV's lists, so it needs the network; in an environment of its own.
audit: $(INSTALLED)
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/pip install --quiet "pip-audit>=2.10,<3"
	$(BIN)/pip freeze --exclude-editable > .venv/audit/installed.txt
	.venv/audit/bin/pip-audit --requirement .venv/audit/installed.txt --no-deps --disable-pip --progress-spinner off

lint: $(INSTALLED)
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/pyright
	$(BIN)/lint-imports

reference: $(INSTALLED)
	$(BIN)/python -m framepack.app.reference > docs/reference.md

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet torch==$(TORCH)
	$(BIN)/pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv outputs
