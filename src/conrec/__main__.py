"""The command line: verb -> function. `conrec --help` lists the verbs, `conrec VERB --help` teaches one.

Everything heavy is imported inside the functions, so that help and mistakes come at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import json
import os
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NoReturn

from tyro.conf import Positional, arg

from conrec import __version__
from conrec.errors import ConrecError
from conrec.processes import is_main, leave

StageName = Literal["prepare", "compress", "understand", "utilize", "predict", "filter", "evaluate", "report"]
StudyName = Literal["fig2a", "fig2b", "table1", "table2", "table3", "table4", "table5", "horizon", "all"]
DatasetName = Literal["simulator", "movietweetings", "movielens"]
BenchName = Literal["decode", "grpo", "sft", "swing", "rqvae", "filter", "all", "serve"]


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
class Bench:
    what: Annotated[Positional[BenchName], arg(metavar="BENCH")]
    """decode, grpo, sft, swing, rqvae, filter, or all of these; or serve."""
    json: bool = False
    """Print one JSON object instead of tables; of `all`, one for each bench by name."""
    quick: bool = False
    """Tiny sizes, to see that everything works; the figures mean nothing."""


@dataclass(frozen=True)
class Reproduce:
    what: Annotated[Positional[StudyName], arg(metavar="STUDY")]
    """fig2a, fig2b, table1, table2, table3, table4, table5, horizon, or all of these."""
    data: Annotated[Path | None, arg(metavar="DATA")] = None
    """A folder with movietweetings/ and movielens-latest/ (and movie-posters/); without it the simulator alone."""
    out: Annotated[Path, arg(metavar="DIR")] = Path("runs/studies")
    """Where runs are kept and the results go (DIR/results)."""
    quick: bool = False
    """Tiny sizes, to see that everything works; the figures mean nothing."""
    seeds: Annotated[tuple[int, ...], arg(metavar="N [N ...]")] = (0, 1, 2)
    """Train once with each of these seeds."""
    datasets: Annotated[tuple[DatasetName, ...], arg(metavar="NAME [NAME ...]")] = ()
    """Of simulator, movietweetings, movielens; without it all that DATA allows."""


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
    threshold: Annotated[float | None, arg(metavar="SCORE")] = None
    """Drop what scores higher than this; without it what DIR/calibration.json says, else what the replay chose."""


@dataclass(frozen=True)
class Replay:
    run: Annotated[Positional[Path], arg(metavar="DIR")]
    """A run folder that came as far as the stage filter."""
    daily_exposures: Annotated[float | None, arg(metavar="N")] = None
    """Items that you show a day; with the next two options: what the filter would be worth to you."""
    cost_of_dislike: Annotated[float, arg(metavar="X")] = 1.0
    """What a shown item costs you that is disliked, in any unit."""
    value_of_click: Annotated[float, arg(metavar="Y")] = 1.0
    """What a shown item is worth to you that is liked, in the same unit."""
    json: bool = False
    """Print everything as JSON instead of a summary."""


@dataclass(frozen=True)
class Calibrate:
    run: Annotated[Positional[Path], arg(metavar="DIR")]
    """A run folder that came as far as the stage filter."""
    likes_lost: Annotated[float, arg(metavar="SHARE")] = 0.01
    """The budget: at most this share of what people would have liked may be dropped."""
    confidence: Annotated[float, arg(metavar="P")] = 0.95
    """How surely: in this share of calibrations the promise is kept."""
    on_average: bool = False
    """Promise the budget on average over calibrations instead (conformal risk control): bolder, kept less surely."""
    units: Literal["users", "likes"] = "users"
    """Whose share is promised: a user's, averaged over users; or that of all likes, as if they were independent."""
    by: Literal["category", "activity"] | None = None
    """A threshold for each category of items, or for users of low, middle and high activity."""
    score: Literal["default", "paper"] = "default"
    """Which score the threshold is for."""
    seed: Annotated[int | None, arg(metavar="N")] = None
    """The seed of the run whose scores are read; without it the first."""
    json: bool = False
    """Print what DIR/calibration.json holds instead of a summary."""


@dataclass(frozen=True)
class Refresh:
    run: Annotated[Positional[Path], arg(metavar="DIR")]
    """A run folder that came as far as the stage filter."""
    events: Annotated[Path | None, arg(metavar="FILE")] = None
    """The day's events (.parquet, .csv or .tsv) with our columns: user_id, item_id, time, kind, reason, value."""
    items: Annotated[Path | None, arg(metavar="FILE")] = None
    """New items (.parquet, .csv or .tsv): item_id, title, category, image, first_seen, other columns as attributes."""
    images: Annotated[Path | None, arg(metavar="PATH")] = None
    """Pictures of the new items: a folder or an archive."""
    snapshots: Annotated[Path | None, arg(metavar="SNAPSHOTS")] = None
    """Where the snapshots are published; without it DIR/snapshots."""
    keep: Annotated[int, arg(metavar="N")] = 7
    """So many versions stay."""
    store: Literal["mapped", "redis"] | None = None
    """Where the users go: files that are memory-mapped (the default), or Redis (CONREC_REDIS names it)."""
    seed: Annotated[int | None, arg(metavar="N")] = None
    """The seed of the run that predicts; without it the first."""
    rollback: bool = False
    """Go back to the version that the one in use was made after; nothing else."""
    merged: Annotated[Path | None, arg(metavar="OUT")] = None
    """Write the log so far to OUT, to train on; nothing else."""


@dataclass(frozen=True)
class Serve:
    snapshots: Annotated[Positional[Path], arg(metavar="SNAPSHOTS")]
    """The folder of published snapshots; the one in use is followed."""
    run: Annotated[Path | None, arg(metavar="DIR")] = None
    """A run folder, for the page: pictures, what was really shown, the trade-off curve, the report."""
    host: Annotated[str | None, arg(metavar="ADDRESS")] = None
    """Where to listen (127.0.0.1); the service asks nobody who they are, so keep it inside."""
    port: Annotated[int | None, arg(metavar="N")] = None
    """Which port (8000)."""
    threshold: Annotated[float | None, arg(metavar="SCORE")] = None
    """Drop what scores above this; without it what the snapshot was calibrated to."""
    min_keep: Annotated[int | None, arg(metavar="N")] = None
    """At least so many candidates of a list stay (1)."""
    max_drop_share: Annotated[float | None, arg(metavar="SHARE")] = None
    """At most this share of a list goes (0.5); the worst go first."""
    exempt: Annotated[Path | None, arg(metavar="FILE")] = None
    """User ids, one a line, whose candidates all pass."""
    dry_run: bool = False
    """Score and count, but drop nothing."""
    budget_ms: Annotated[float | None, arg(metavar="MS")] = None
    """Time for one answer (25); when it is over all candidates pass."""


def run(args: Run) -> None:
    """Run all stages: from a log to predicted dislikes, metrics and a report.

    The stages are prepare, compress, understand, utilize, predict, filter, evaluate, report. Each writes its folder
    in DIR; DIR/metrics.json and DIR/report.html come last. What is up to date is skipped; what died is continued by
    the same command.

    Example: conrec run recipes/movietweetings.toml --data movietweetings/ --images posters/ --out runs/mt

    Example, after a change of the recipe's [filter]: the same command; only filter and what follows is made anew.

    Example, training by two processes: torchrun --nproc-per-node 2 -m conrec run ... (docs/engine.md)
    """
    from conrec.config import load_recipe
    from conrec.run import STAGES, find_recipe, run_stages, start_run

    recipe = load_recipe(find_recipe(args.recipe))
    if args.seeds:
        recipe = dataclasses.replace(recipe, seeds=args.seeds)
    start_run(recipe, args.out, args.data, args.images)
    run_stages(STAGES, recipe, args.out, args.data, args.images, args.start, args.to, args.force)
    if args.to in (None, "report") and is_main():
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

    Reads DIR/prepare, DIR/compress, DIR/predict and DIR/filter (of the first seed; for the score and its threshold)
    and CANDIDATES. Writes every candidate to FILE, in the same order: whether it is kept, its score, and the predicted
    dislike that it comes closest to. The threshold is the calibrated one (conrec calibrate) where there is one, else
    what the run's replay chose; the output says which. (What the filter avoids and costs: conrec replay.)

    Example: conrec filter runs/mt ranked.parquet --out filtered.parquet
    """
    from conrec.run import open_run

    recipe, _, _ = open_run(args.run)
    seed = f"seed{recipe.seeds[0]}"
    predictions = args.run / "predict" / seed / "predictions.parquet"
    if not predictions.is_file():
        raise ConrecError(f"{predictions}: not there; bring the run as far as predict first")
    from conrec.deploy.apply import describe, filter_file
    from conrec.deploy.served import served_thresholds
    from conrec.features.log_view import LogView

    log_view = LogView.read(args.run / "prepare", args.run / "compress")
    score, thresholds, said = served_thresholds(args.run, recipe.seeds[0], log_view.items.categories, args.threshold)
    account = filter_file(args.candidates, predictions, log_view, score, recipe.split, thresholds, args.out)
    print(said)
    print(describe(account))
    print(args.out)


def replay(args: Replay) -> None:
    """Show what the filter would have avoided, what it costs, and whom.

    Reads DIR/filter: on what was really shown after the cuts of test, the dislikes avoided at 1, 2 and 5 % of likes
    lost, of CoNRec (mean over seeds), its parts and every other filter, with intervals over users and paired
    differences; likes lost, share dropped, and the users whose lists lose most; and a day in your own numbers.

    Example: conrec replay runs/mt

    Example, a day of yours: conrec replay runs/mt --daily-exposures 1e6 --cost-of-dislike 0.05 --value-of-click 0.02
    """
    from conrec.run import open_run

    recipe, _, _ = open_run(args.run)
    from conrec.deploy.replay import Operator, describe, estimate, read_replays

    operator = args.daily_exposures is not None and Operator(
        args.daily_exposures, args.cost_of_dislike, args.value_of_click
    )
    found = read_replays(args.run, recipe)
    guess = estimate(found, operator) if operator else None
    if args.json:
        found |= {"estimate": guess} if operator else {}
        print(json.dumps(found, indent=1))
    else:
        print(describe(found, guess))


def calibrate(args: Calibrate) -> None:
    """Choose the threshold by a budget of lost likes, with a guarantee.

    Reads DIR/filter and writes DIR/calibration.json: the threshold (none where the data is too small to promise
    anything, with what would be needed), what it rests on, and what it did on test. docs/guarantee.md says what is
    promised.

    Example: conrec calibrate runs/mt --likes-lost 0.02

    Example, a threshold for each category: conrec calibrate runs/mt --likes-lost 0.05 --by category
    """
    from conrec.run import open_run

    recipe, _, _ = open_run(args.run)
    from conrec.deploy.calibrate import calibrate, describe

    result = calibrate(
        args.run,
        recipe,
        likes_lost=args.likes_lost,
        confidence=None if args.on_average else args.confidence,
        by=args.by,
        score=args.score,
        units=args.units,
        seed=args.seed,
    )
    print(json.dumps(result, indent=1) if args.json else describe(result))


def refresh(args: Refresh) -> None:
    """Publish the predictions for the filter; ingest a new day of log and new items.

    The first call, without --events, publishes the run as it is at the end of its log. Every further one ingests what
    is new: events are cleaned like the first log and every row is accounted for, new items get IDs from the frozen
    codebook, users whose history changed are predicted anew, the others are carried over. The result is a new snapshot
    in SNAPSHOTS at once or not at all; the same input a second time changes nothing. docs/daily_job.md is the how-to.

    Nothing is trained. To train anew on the log so far:

      conrec refresh runs/mt --merged merged && conrec run merged/recipe.toml --data merged --out runs/mt2

    and go on with: conrec refresh runs/mt2 --snapshots runs/mt/snapshots

    Example: conrec refresh runs/mt

    Example, every night: conrec refresh runs/mt --events 2026-11-22.parquet --items new_items.csv

    Example, back to the snapshot before: conrec refresh runs/mt --rollback
    """
    from conrec.run import open_run

    recipe, _, _ = open_run(args.run)
    snapshots = args.run / "snapshots" if args.snapshots is None else args.snapshots
    alone = args.rollback + (args.merged is not None)
    if alone and (alone > 1 or args.events or args.items):
        raise ConrecError("--rollback and --merged each stand alone; leave out --events, --items and the other one")
    from conrec.deploy.refresh import refresh, roll_back, write_merged

    if args.rollback:
        print(f"{roll_back(snapshots)} in use")
    elif args.merged is not None:
        print(write_merged(args.run, recipe, snapshots, args.merged))
    else:
        print(
            refresh(
                args.run,
                recipe,
                snapshots=snapshots,
                events=args.events,
                items=args.items,
                images=args.images,
                keep=args.keep,
                seed=args.seed,
                store=args.store,
            )
        )


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


def serve(args: Serve) -> None:
    """Serve the filter over HTTP, with a page that shows what it does.

    Reads the published snapshots in SNAPSHOTS and takes over a new one without a pause. POST /v1/filter decides about
    candidates, /metrics counts, /openapi.json describes, and / is the page. Whatever fails, all candidates pass. Each
    option can also be given in the environment (CONREC_PORT=8080), and so can limits that docs/service.md lists.

    Example: conrec serve snapshots --run runs/demo
    """
    try:
        import msgspec  # noqa: F401
        import prometheus_client  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConrecError(f"serve needs {error.name}; pip install 'conrec[serve]' (in a clone: '.[serve]')") from None
    from conrec.serve.settings import read_settings

    settings = read_settings(**{**vars(args), "dry_run": args.dry_run or None})
    from conrec.serve.app import serve

    serve(settings)


def bench(args: Bench) -> None:
    """Measure how much faster we are than what you would take instead, at equal results, on this machine.

    decode: beams behind one prompt pass, against Hugging Face generate with prefix_allowed_tokens_fn.

    grpo: a step of GRPO, against TRL's GRPOTrainer with DeepSeekMath's settings; memory, too.

    sft: packed rows, against padded batches.

    swing: item neighbours, against the same formula in DuckDB and in plain Python.

    rqvae: semantic IDs, against ResidualVQ alone and faiss; here the error counts, not the time.

    filter: scoring 500 candidates, against a Python loop over them.

    serve: the service under load with ten million users, against its promises: latency, hot swap, memory. Takes some
    ten minutes and 8 GB of disk; needs the extra `serve`, and is not part of `all`.

    Each prints how long every way took, how many times longer than ours the usual one (ratio), whether the results
    are the same (exact), and how much of our time no way could avoid (floor over ours). Exit status 1 if the results
    differ. Needs the extra `oracle`; a bench takes some minutes on an idle core.

    Example: conrec bench decode

    Example: conrec bench all --json > results.json
    """
    if args.what == "serve":
        _bench_serve(args)
        return
    import importlib

    from benchmarks.results import show

    every = [name for name in typing.get_args(BenchName) if name not in ("all", "serve")]
    names = every if args.what == "all" else [args.what]
    results = {}
    for name in names:
        results[name] = importlib.import_module(f"benchmarks.{name}").bench(args.quick).json()
        if not args.json:
            show(results[name])
    if args.json:
        print(json.dumps(results if args.what == "all" else results[args.what], indent=2))
    if not all(result["exact"] for result in results.values()):
        raise SystemExit(1)


def _bench_serve(args: Bench) -> None:
    from benchmarks.serve import failures, markdown, serve

    found = serve(args.quick)
    print(json.dumps(found, indent=2) if args.json else markdown(found))
    if failures(found):
        raise SystemExit(1)


def reproduce(args: Reproduce) -> None:
    """Repeat the paper's tables and figures: what it reports, what we find, and how sure that is.

    Every run that a study needs is kept in DIR by what it depends on: a study that was stopped goes on, a further seed
    runs alone, and what studies share is run once. Writes a table (CSV), a picture (SVG) and a paragraph (Markdown)
    for each study to DIR/results. Started twice, the same command works on two cells at a time.

    Example: conrec reproduce table1 --data ../shared/data --out runs/studies

    Example, all of it on the simulator, tiny: conrec reproduce all --quick --out runs/quick --seeds 0
    """
    from conrec.studies.reproduce import reproduce

    print(reproduce(args.what, args.data, args.out, args.seeds, args.datasets, args.quick))


def doctor() -> None:
    """Look at this machine: versions, cores, memory, disk, GPU, optional parts, and a short self-test.

    Exit status 1 if something that is needed does not work.

    Example: conrec doctor
    """
    from conrec.cli.doctor import doctor

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
    "replay": replay,
    "calibrate": calibrate,
    "refresh": refresh,
    "evaluate": evaluate,
    "report": report,
    "serve": serve,
    "bench": bench,
    "reproduce": reproduce,
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
    leave()
    return 0


def program() -> NoReturn:
    """The command `conrec`: `main`, and then the end, without what the interpreter would still clean up.

    Daft's threads and the connections between processes outlive the interpreter, and now and then abort a process
    whose files are all written (one run in fourteen; of two processes one in five), which looks like a failure.
    """
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


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
    program()
