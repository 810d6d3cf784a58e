#!/usr/bin/env bash
# Takes the figures of benchmarks/RESULTS.md again: all benches on this machine, best with nothing else running on it.
# PYTHON names an interpreter with the project and its extras `oracle` and `scale` installed (make test makes one).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
found=$(mktemp)
trap 'rm -f "$found"' EXIT
"$python" -m benchmarks all --json >"$found"
"$python" -m benchmarks.results benchmarks/RESULTS.md <"$found"
"$python" -m benchmarks serve --json >"$found"
"$python" -m benchmarks.serve benchmarks/RESULTS.md <"$found"
"$python" -m benchmarks ray --json >"$found"
"$python" -m benchmarks.ray_overhead benchmarks/RESULTS.md <"$found"
