#!/usr/bin/env bash
# One table of this machine's GPU in ten minutes or less, without a download (after `make install`, or with PYTHON set):
#   benchmarks/gpu_ten_minutes.sh [--seconds 570] [--device cuda:0] [--save FILE.md]
# Ctrl-C ends the part at hand and goes on with the next; twice ends all. What was measured is printed in any case.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
command -v "$python" >/dev/null || { echo "$python is missing: run make install first, or set PYTHON"; exit 2; }
PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" exec "$python" benchmarks/gpu_ten_minutes.py "$@"
