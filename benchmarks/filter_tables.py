"""The tables of docs/filter.md: what each part of the filter's score gives, in Markdown.

    python -m benchmarks.filter_tables RUN [--seeds 0 1 2]

RUN came as far as predict. Scores are learned anew with each seed, into a folder that is thrown away, on the
predictions of the seeds that the run has (the first one's for seeds beyond).
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from conrec.deploy.replay import SystemSummary, read_replays
from conrec.evaluate.protocol import OURS
from conrec.evaluate.results import Differences
from conrec.features.prepared_log import PreparedLog
from conrec.pipeline.job import Job
from conrec.run import open_run
from conrec.stages.filter import filter_replay
from conrec.stages.score import learn_score

ROWS = {
    f"{OURS}_paper": "the paper's score",
    OURS: "**history**",
    "bias": "bias",
    "boosted": "boosted",
}


def main(run: Path, seeds: list[int]) -> None:
    recipe, _, _ = open_run(run)
    with tempfile.TemporaryDirectory() as scratch:
        for seed in seeds:
            trained = f"seed{seed}" if (run / "predict" / f"seed{seed}").is_dir() else f"seed{recipe.seeds[0]}"
            scored, out = (Path(scratch) / stage / f"seed{seed}" for stage in ("score", "filter"))
            for folder in (scored, out):
                folder.mkdir(parents=True)
            log = PreparedLog(run / "prepare", run / "compress")
            folders = {"prepare": log.prepared, "compress": log.compressed, "score": scored}
            folders["predict"] = run / "predict" / trained
            job = Job(recipe, scored, seed, {name: (folder,) for name, folder in folders.items()}, log)
            learn_score(job)
            filter_replay(replace(job, out=out))
        found = read_replays(Path(scratch), replace(recipe, seeds=tuple(seeds)))
    print(f"\n{found.exposures:,} exposures, {found.dislikes / found.exposures:.1%} disliked\n")
    print("| | AUC | at 1 % | at 2 % | at 5 % |\n|---|---|---|---|---|")
    for name, title in ROWS.items():
        if name in found.systems:
            print(_row(title, found.systems[name]))
    for other in ("bias", "boosted"):
        print(_lead(other, found.differences[other]))
    beaten = {name: [one.verdict for one in table.values()] for name, table in found.differences.items()}
    unbeaten = {n: v for n, v in beaten.items() if not n.startswith(OURS) and set(v) != {"better"}}
    print("\nnot significantly below at 1, 2 and 5 %:", unbeaten or "none of the other filters")


def _row(title: str, system: SystemSummary) -> str:
    cells = [f"{_figure(one.mean)} ({_figure(one.ci95[0])}-{_figure(one.ci95[1])})" for one in system.avoided.values()]
    return f"| {title} | {_figure(system.auc)} | {' | '.join(cells)} |"


def _lead(other: str, table: Differences) -> str:
    cells = [
        f"{_figure(one.difference, '+')} ({_figure(one.ci95[0], '+')} to {_figure(one.ci95[1], '+')})"
        for one in table.values()
    ]
    return f"| lead over {other} | | {' | '.join(cells)} |"


def _figure(value: float | None, sign: str = "") -> str:
    """A number; a dash where there is none."""
    return "-" if value is None else f"{value:{sign}.3f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    main(args.run, args.seeds)
