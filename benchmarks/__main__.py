"""Measure how much faster we are than what you would take instead, at equal results, on this machine.

  decode  beams behind one prompt pass, against Hugging Face generate with prefix_allowed_tokens_fn
  grpo    a step of GRPO, against TRL's GRPOTrainer with DeepSeekMath's settings; memory, too
  sft     packed rows, against padded batches
  swing   item neighbours, against the same formula in DuckDB and in plain Python
  rqvae   semantic IDs, against ResidualVQ alone and faiss; here the error counts, not the time
  filter  scoring 500 candidates, against a Python loop over them
  all     all of these
  engines beams again, against llama.cpp and CTranslate2, which serve language models (see benchmarks/engines.py)
  fit     conrec.fit on a million drawn events: time and memory, and gradient boosting on the same windows
  ray     conrec.fit on 1, 2, and 4 workers of Ray against none; needs the extra `scale`
  serve   the service under load with ten million users, against its promises: latency, hot swap, memory; takes some
          ten minutes and 8 GB of disk, and the extra `serve`

Each prints how long every way took, how many times longer than ours the usual one (ratio), whether the results are the
same (exact), and how much of our time no way could avoid (floor over ours). Exit status 1 if the results differ. Needs
the extra `oracle`; a bench takes some minutes on an idle core.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys

from benchmarks.results import show
from conrec.errors import ConrecError

NAMES = ("decode", "grpo", "sft", "swing", "rqvae", "filter")


def main(what: str, quick: bool, as_json: bool) -> bool:
    """Run one bench (or all of `NAMES`) and print what it found; whether the results are the same."""
    if what == "serve":
        from benchmarks.serve import failures, markdown, serve

        found = serve(quick)
        print(json.dumps(found, indent=2) if as_json else markdown(found))
        return not failures(found)
    if what == "fit":
        from benchmarks.fit import fit, markdown

        tables = [fit(quick, exposures) for exposures in (0.0, 0.8)]
        print(json.dumps(tables, indent=2) if as_json else "\n\n".join(map(markdown, tables)))
        return True
    if what == "ray":
        from benchmarks.ray_overhead import markdown, ray_overhead

        found = ray_overhead(quick)
        print(json.dumps(found, indent=2) if as_json else markdown(found))
        return bool(found["exact"])
    results = {}
    for name in NAMES if what == "all" else [what]:
        results[name] = importlib.import_module(f"benchmarks.{name}").bench(quick).json()
        if not as_json:
            show(results[name])
    if as_json:
        print(json.dumps(results if what == "all" else results[what], indent=2))
    return all(result["exact"] for result in results.values())


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("what", choices=(*NAMES, "all", "engines", "fit", "ray", "serve"))
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it works; figures mean nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    arguments = parser.parse_args()
    try:
        same = main(arguments.what, arguments.quick, arguments.json)
    except ConrecError as error:
        sys.exit(f"benchmarks: {error}")
    sys.exit(not same)
