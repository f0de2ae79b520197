#!/usr/bin/env bash
# Sets up the Python side of `cargo xtask bench --peer` in peer/.venv: PyTorch, for CPUs where the index has such a build.
# Needs Python 3.10 or later with venv.
set -euo pipefail
cd "$(dirname "$0")"

python3 -m venv .venv
.venv/bin/pip install --quiet --upgrade pip
.venv/bin/pip install --quiet --extra-index-url https://download.pytorch.org/whl/cpu --requirement requirements.txt
.venv/bin/python -c 'import torch; print("PyTorch", torch.__version__, "in peer/.venv")'
