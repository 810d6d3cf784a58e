"""The command line: verb -> function. `conrec --help` lists the verbs, `conrec VERB --help` teaches one.

Everything heavy is imported inside the functions, so that help and mistakes come at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import json
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from conrec import __version__
from conrec.errors import ConrecError

StageName = Literal["prepare", "compress", "understand", "utilize", "predict", "filter", "evaluate", "report"]


@dataclass(frozen=True)
class Run:
    recipe: Annotated[Positional[Path], arg(metavar="RECIPE")]
    """A recipe (TOML): a file, or the name of one that comes along: demo, movietweetings, movielens."""
    out: Annotated[Path, arg(metavar="DIR")]
    """The run folder; it is made if need be, and continued if it is there."""
    data: Annotated[Path | None, arg(metavar="PATH")] = None
    """The log: a file or a folder, as the recipe's `data.adapter` expects it."""
    images: Annotated[Path | None, arg(metavar="PATH")] = None
    """Pictures of the items: a folder or an archive. Without it items are known by their titles alone."""
    start: Annotated[StageName | None, arg(name="from", metavar="STAGE")] = None
    """Begin at this stage and take those before it as they are."""
    to: Annotated[StageName | None, arg(metavar="STAGE")] = None
    """Stop after this stage."""
    force: bool = False
    """Make stages anew that are up to date."""
    seeds: Annotated[tuple[int, ...], arg(metavar="N [N ...]")] = ()
    """Train once with each of these seeds; without it those of the recipe."""


@dataclass(frozen=True)
class Demo:
    out: Annotated[Path, arg(metavar="DIR")] = Path("runs/demo")
    """The run folder."""


@dataclass(frozen=True)
class Prepare:
    run: Annotated[Positional[Path], arg(metavar="DIR")]
    """The run folder; with --recipe it is made if need be."""
    recipe: Annotated[Path | None, arg(metavar="RECIPE")] = None
    """Begin a run with this recipe; without it the run folder's own."""
    data: Annotated[Path | None, arg(metavar="PATH")] = None
    """The log; without it where the run folder says."""
    images: Annotated[Path | None, arg(metavar="PATH")] = None
    """Pictures of the items; without it where the run folder says."""
    force: bool = False
    """Make it anew even if it is up to date."""


@dataclass(frozen=True)
class OneStage:
    run: Annotated[Positional[Path], arg(metavar="DIR")]
    """The run folder."""
    force: bool = False
    """Make it anew even if it is up to date."""


@dataclass(frozen=True)
class Nothing:
    """For a verb without options."""


@dataclass(frozen=True)
class Filter:
    run: Annotated[Positional[Path], arg(metavar="DIR")]
    """A run folder with predictions."""
    candidates: Annotated[Positional[Path], arg(metavar="CANDIDATES")]
    """Candidates (.parquet, .csv or .tsv) with the columns user_id and item_id."""
    out: Annotated[Path, arg(metavar="FILE")]
    """Where the decisions go (.parquet, .csv or .tsv)."""
    threshold: Annotated[float | None, arg(metavar="COSINE")] = None
    """Drop what is more similar than this (a cosine, -1 to 1); without it what the run's replay chose."""


def run(args: Run) -> None:
    """Run all stages: from a log to predicted dislikes, metrics and a report.

    The stages are prepare, compress, understand, utilize, predict, filter, evaluate, report. Each writes its folder
    in DIR; DIR/metrics.json and DIR/report.html come last. What is up to date is skipped; what died is continued by
    the same command.

    Example: conrec run recipes/movietweetings.toml --data movietweetings/ --images posters/ --out runs/mt

    Example, after a change of the recipe's [filter]: the same command; only filter and what follows is made anew.
    """
    from conrec.config import load_recipe
    from conrec.run import STAGES, find_recipe, run_stages, start_run

    recipe = load_recipe(find_recipe(args.recipe))
    if args.seeds:
        recipe = dataclasses.replace(recipe, seeds=args.seeds)
    start_run(recipe, args.out, args.data, args.images)
    run_stages(STAGES, recipe, args.out, args.data, args.images, args.start, args.to, args.force)
    if args.to in (None, "report"):
        print(args.out / "report.html")


def demo(args: Demo) -> None:
    """Run everything on a small simulated platform; needs nothing but this package.

    The same as `conrec run demo --out runs/demo`. Ends with the path of the report. Run it again to continue one
    that was stopped.

    Example: conrec demo
    """
    run(Run(Path("demo"), args.out))


def prepare(args: Prepare) -> None:
    """Read and clean the log, and cut it into instances; also begins a run.

    Reads the log and writes DIR/prepare: items, events, instances and candidates (Parquet), with an account of
    every row that was dropped (accounting.json).

    Example: conrec prepare runs/mt --recipe recipes/movietweetings.toml --data movietweetings/

    Example, once the run has begun: conrec prepare runs/mt
    """
    from conrec.config import load_recipe
    from conrec.run import STAGES, find_recipe, open_run, run_stages, start_run

    if args.recipe is None:
        recipe, data, images = open_run(args.run)
        data, images = args.data or data, args.images or images
    else:
        recipe, data, images = load_recipe(find_recipe(args.recipe)), args.data, args.images
    start_run(recipe, args.run, data, images)
    run_stages(STAGES, recipe, args.run, data, images, "prepare", "prepare", args.force)


def compress(args: OneStage) -> None:
    """Turn every item into an embedding and a semantic ID (context compression).

    Reads DIR/prepare and writes DIR/compress: embeddings, Swing neighbours, the codebook, the catalogue of semantic
    IDs and their quality (quality.json).

    Example: conrec compress runs/mt
    """
    _one_stage("compress", args)


def understand(args: OneStage) -> None:
    """Teach the model what the semantic IDs mean (context understanding).

    Reads DIR/prepare and DIR/compress and writes DIR/understand/seedN: the model after translation between titles
    and IDs and after item-level alignment. A stopped training continues from its last checkpoint.

    Example: conrec understand runs/mt
    """
    _one_stage("understand", args)


def utilize(args: OneStage) -> None:
    """Teach the model what a user will dislike: warm-up, then progressive GRPO (context utilization).

    Reads DIR/prepare, DIR/compress and DIR/understand and writes DIR/utilize/seedN: the model after the warm-up and
    after each of the three stages. A stopped training continues from its last checkpoint.

    Example: conrec utilize runs/mt
    """
    _one_stage("utilize", args)


def predict(args: OneStage) -> None:
    """Predict the 20 items that each user will most likely dislike.

    Reads DIR/prepare, DIR/compress and DIR/utilize and writes DIR/predict/seedN/predictions.parquet: items, best
    first, with their scores. Only valid semantic IDs of items on offer can come out.

    Example: conrec predict runs/mt
    """
    _one_stage("predict", args)


def filter_(args: Filter) -> None:
    """Apply the filter to a file of candidates, as behind a ranker.

    Reads DIR/compress, DIR/predict (of the first seed), DIR/filter (for the threshold) and CANDIDATES. Writes every
    candidate to FILE, in the same order: whether it is kept, its similarity to what its user is predicted to dislike,
    and which predicted dislike that is. (The replay over the log, which measures the filter, is the stage filter of
    `conrec run`.)

    Example: conrec filter runs/mt ranked.parquet --out filtered.parquet --threshold 0.9
    """
    from conrec.run import open_run

    recipe, _, _ = open_run(args.run)
    seed = f"seed{recipe.seeds[0]}"
    predictions = args.run / "predict" / seed / "predictions.parquet"
    if not predictions.is_file():
        raise ConrecError(f"{predictions}: not there; bring the run as far as predict first")
    threshold = _own_threshold(args.run / "filter" / seed) if args.threshold is None else args.threshold
    from conrec.stages.filter_replay import describe, filter_file

    print(describe(filter_file(args.candidates, predictions, args.run / "compress", threshold, args.out)))
    print(args.out)


def _own_threshold(replay: Path) -> float:
    """The threshold that the filter's replay chose on validation."""
    try:
        threshold = json.loads((replay / "replay.json").read_text(encoding="utf-8"))["threshold"]
    except FileNotFoundError:
        raise ConrecError(f"--threshold is missing, and {replay} is not there to take it from; give one") from None
    if threshold is None:
        raise ConrecError(f"--threshold is missing, and the replay in {replay} could choose none; give one")
    return float(threshold)


def evaluate(args: OneStage) -> None:
    """Measure the predictions and the filter by the protocol, next to the baselines.

    Reads DIR/prepare, DIR/compress, DIR/predict and DIR/filter and writes DIR/evaluate and DIR/metrics.json: hit
    rates with intervals over users, candidate accuracy, and the filter's trade-off.

    Example: conrec evaluate runs/mt
    """
    _one_stage("evaluate", args)


def report(args: OneStage) -> None:
    """Write the report: one HTML file with numbers and pictures.

    Reads the whole run folder and writes DIR/report.html. It is always made anew.

    Example: conrec report runs/mt
    """
    _one_stage("report", args)
    print(args.run / "report.html")


def doctor() -> None:
    """Look at this machine: versions, cores, memory, disk, GPU, optional parts, and a short self-test.

    Exit status 1 if something that is needed does not work.

    Example: conrec doctor
    """
    from conrec.doctor import doctor

    if not doctor():
        raise SystemExit(1)


def _one_stage(name: str, args: OneStage) -> None:
    from conrec.run import STAGES, open_run, run_stages

    recipe, data, images = open_run(args.run)
    run_stages(STAGES, recipe, args.run, data, images, name, name, args.force)


VERBS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "run": run,
    "prepare": prepare,
    "compress": compress,
    "understand": understand,
    "utilize": utilize,
    "predict": predict,
    "filter": filter_,
    "evaluate": evaluate,
    "report": report,
    "doctor": doctor,
}


def overview() -> str:
    """The text of `conrec --help`."""
    width = max(map(len, VERBS))
    verbs = [f"  {name:{width}}  {(verb.__doc__ or '').splitlines()[0]}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "usage: conrec VERB ...",
            "",
            "Learns what each user will dislike, and keeps it out of what a recommender shows.",
            "",
            *verbs,
            "",
            "`conrec VERB --help` says what a verb reads and writes, with an example. Begin with `conrec demo`.",
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """Run one verb; the exit status: 0 done, 2 a mistake that the user can mend, 130 stopped by the user."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(overview())
        return 0 if argv else 2
    if argv[0] in ("-V", "--version"):
        print(__version__)
        return 0
    try:
        _call(argv[0], argv[1:])
    except ConrecError as error:
        print(f"conrec: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("conrec: stopped; run the same command again to continue", file=sys.stderr)
        return 130
    return 0


def _call(name: str, rest: list[str]) -> None:
    if name not in VERBS:
        near = difflib.get_close_matches(name, VERBS, 1)
        raise ConrecError(f"{name}: no such verb" + (f"; did you mean {near[0]}?" if near else "; see conrec --help"))
    import tyro

    verb = VERBS[name]
    # A verb takes one dataclass, from which the options are read, or nothing.
    options = typing.get_type_hints(verb).get("args")
    description = inspect.cleandoc(verb.__doc__ or "")
    config = (tyro.conf.FlagCreatePairsOff,)
    parsed = tyro.cli(options or Nothing, prog=f"conrec {name}", description=description, args=rest, config=config)
    verb(parsed) if options else verb()


if __name__ == "__main__":
    raise SystemExit(main())
