#!/usr/bin/env bash
# The benches at the sizes of Qwen3-0.6B, 4B and 8B on a CUDA device: prints JSON and fills in the GPU's section of
# benchmarks/RESULTS.md. Prompts of 512 and 2048 tokens, 3 x 8192 codes, a million items, bfloat16, random weights: nothing
# is downloaded. 80 GB of GPU memory are enough; what does not fit is reported as such.
#   benchmarks/run_gpu.sh                     everything
#   benchmarks/run_gpu.sh --shapes 0.6B       one model; --help names the other options
# PYTHON names an interpreter with the project installed and a torch built for CUDA.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-.venv/bin/python}" -m benchmarks.gpu --results "${RESULTS:-benchmarks/RESULTS.md}" "$@"
