"""The verbs of a run: all stages, one of them, and the demonstration."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from conrec.config import POLICY_TEMPERATURES
from conrec.errors import ConrecError, need
from conrec.parallel import Engine, use
from conrec.pipeline.stage import Stage
from conrec.processes import is_main
from conrec.run import named_recipe, open_run, run_stages, stages_of

if TYPE_CHECKING:
    from conrec.model import Model

StageName = Literal[
    "prepare", "compress", "understand", "utilize", "score", "weights", "predict", "filter", "evaluate", "report"
]


@dataclass(frozen=True)
class Run:
    recipe: Annotated[Positional[Path], arg(metavar="RECIPE")]
    """A recipe (TOML): a file, or one that comes along: demo, movietweetings, movielens, polis, kuairand."""
    out: Annotated[Path, arg(metavar="DIR")]
    """The run folder; it is made if need be, and continued if it is there."""
    data: Annotated[tuple[str, ...], arg(metavar="PATH [PATH ...]")] = ()
    """The log: a file or a folder, as the recipe's `data.adapter` expects it; tables also by globs and s3://..."""
    images: Annotated[Path | None, arg(metavar="PATH")] = None
    """Pictures of the items: a folder or an archive. Without it items are known by their titles alone."""
    start: Annotated[StageName | None, arg(name="from", metavar="STAGE")] = None
    """Begin at this stage, and reuse those before it."""
    to: Annotated[StageName | None, arg(metavar="STAGE")] = None
    """Stop after this stage."""
    force: bool = False
    """Rebuild stages that are up to date, too."""
    seeds: Annotated[tuple[int, ...], arg(metavar="N [N ...]")] = ()
    """Train once with each of these seeds; without it those of the recipe."""
    settings: Annotated[Path | None, arg(name="with", metavar="TOML")] = None
    """Settings over those of the recipe: a file, or one that comes along: smollm2, minilm (docs/pretrained.md)."""
    policy: bool = False
    """Train the language model, too, and let it join the item features where validation says that it helps."""
    track: Literal["tensorboard", "wandb", "mlflow"] | None = None
    """Where the curves of this training go as well; tensorboard's files are in DIR/track."""
    engine: Engine = "native"
    """ray: spread what is no training over the cluster at RAY_ADDRESS, else over this machine's cores."""


def run(args: Run) -> None:
    """Run all stages: from a log to predicted dislikes, metrics and a report.

    The stages are prepare, compress, understand, utilize, score, weights, predict, filter, evaluate, report. Those of
    the language model, understand and utilize, run with --policy alone (docs/decoding.md). Each writes its folder in
    DIR; DIR/metrics.json and DIR/report.html come last. What is up to date is skipped; what died is continued by the
    same command.

    Example: conrec run recipes/movietweetings.toml --data movietweetings/ --images posters/ --out runs/mt

    Example, tables: conrec run shop.toml --data 's3://shop/log/events-*.parquet' items=catalogue.csv --out runs/shop

    Example, after a change of the recipe's [filter]: the same command; only filter and what follows is rebuilt.

    Example, training by two processes: torchrun --nproc-per-node 2 -m conrec run ... (docs/engine.md)
    """
    use(args.engine)
    recipe = named_recipe(args.recipe, args.settings)
    if args.track:
        if importlib.util.find_spec(args.track) is None:
            raise ConrecError(f"--track {args.track}: it is not installed; pip install {args.track}")
        os.environ["CONREC_TRACK"] = args.track
    if args.seeds:
        recipe = dataclasses.replace(recipe, seeds=args.seeds)
    if args.policy:
        asked = dataclasses.replace(recipe.predict, temperatures=(math.inf, *POLICY_TEMPERATURES))
        recipe = dataclasses.replace(recipe, predict=asked)
    run_stages(stages_of(recipe), recipe, args.out, args.data, args.images, args.start, args.to, args.force, begin=True)
    if args.to in (None, "report") and recipe.sid.levels and is_main():
        print(args.out / "report.html")


@dataclass(frozen=True)
class Fit:
    events: Annotated[Positional[str], arg(metavar="EVENTS")]
    """The log: user_id, item_id, time and kind, reason or value; a file, its folder, a quoted glob, or s3://..."""
    out: Annotated[Path, arg(metavar="DIR")]
    """The run folder; it is made if need be."""
    items: Annotated[Positional[str | None], arg(metavar="ITEMS")] = None
    """The catalogue, in the same formats: item_id, title, category, image, other columns as attributes."""
    dislike_at_most: Annotated[float | None, arg(metavar="X")] = None
    """Ratings up to this are dislikes."""
    like_at_least: Annotated[float | None, arg(metavar="Y")] = None
    """Ratings from this on are likes."""
    images: Annotated[Path | None, arg(metavar="PATH")] = None
    """Pictures of the items: a folder or an archive."""
    recipe: Annotated[Path, arg(metavar="RECIPE")] = Path("fit")
    """Other settings, such as your names of columns; without it recipes/fit.toml."""
    engine: Engine = "native"
    """ray: spread the work over the cluster at RAY_ADDRESS, else over this machine's cores."""


def fit(args: Fit) -> None:
    """Learn the filter from a log and the items' content, without a language model.

    Reads EVENTS and ITEMS (docs/data.md) and writes DIR/prepare, DIR/compress, DIR/score and DIR/filter; prints what
    the filter avoids on the held-out weeks, beside other filters. The same as `conrec.fit` in Python.

    Example: conrec fit events.csv items.csv --out model

    Then: conrec calibrate model && conrec refresh model && conrec serve model/snapshots --run model
    """
    from conrec.model import fit

    use(args.engine)
    given = {name: value for name, value in vars(args).items() if name not in ("events", "items", "out", "engine")}
    print(fit(args.events, args.items, folder=args.out, **given).evaluate())


@dataclass(frozen=True)
class Demo:
    out: Annotated[Path, arg(metavar="DIR")] = Path("runs/demo")
    """The run folder."""


def demo(args: Demo) -> None:
    """Run everything on a small simulated platform; needs nothing but the extra `train`.

    First the minute's way: the filter alone, as `conrec fit` learns it, to DIR-fit, and the list of one user behind it.
    Then the paper's, the same as `conrec run demo --out runs/demo`, which ends with the path of the report. Run it
    again to continue one that was stopped.

    Example: conrec demo
    """
    from conrec.model import load

    need("train", "images", "report")
    recipe = named_recipe(Path("demo"))
    alone = dataclasses.replace(recipe, sid=dataclasses.replace(recipe.sid, levels=0))
    fitted = args.out.with_name(f"{args.out.name}-fit")
    run_stages(stages_of(alone), alone, fitted, begin=True)
    model = load(fitted)
    print(f"{model.evaluate()}\n\n{_one_list(model)}\n", flush=True)
    run(Run(Path("demo"), args.out))


def _one_list(model: Model) -> str:
    """What the user with the most dislikes in the test period was shown then, up to 20 items, behind the filter."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from conrec.report.texts import sentences

    folder = model.folder
    shown = pq.read_table(folder / "filter/seed0/scores.parquet", filters=[("split", "=", "test")])
    users = shown.filter(pc.greater(shown["label"], 0))["user_id"].value_counts().to_pylist()
    user = max(users, key=lambda one: one["counts"])["values"]
    own = shown.filter(pc.equal(shown["user_id"], user))
    labels = dict(zip(own["item_id"].to_pylist(), own["label"].to_pylist()))
    listed = sorted(labels, key=lambda item: labels[item] == 0)[:20]  # what the user reacted to, first
    items = pq.read_table(folder / "prepare/items.parquet", columns=["item_id", "title"]).to_pydict()
    titles = dict(zip(items["item_id"], items["title"]))
    return str(sentences("cli/one_list.txt").told(user, listed, model.filter(user, listed), titles, labels))


@dataclass(frozen=True)
class OneStage:
    run: Annotated[Positional[Path], arg(metavar="DIR")]
    """The run folder."""
    force: bool = False
    """Rebuild it even if it is up to date."""


def one_stage(stage: Stage) -> Callable[[OneStage], None]:
    name = stage.name

    def verb(args: OneStage) -> None:
        recipe, data, images = open_run(args.run)
        run_stages(stages_of(recipe), recipe, args.run, data, images, name, name, args.force)
        if name == "report":
            print(args.run / "report.html")

    verb.__doc__ = f"""{stage.does}

    Reads the folders of the stages before it in DIR (prepare: the log) and writes its own, one a seed where it learns;
    evaluate also writes DIR/metrics.json, and report DIR/report.html alone. A training that was stopped continues from
    its last checkpoint.

    Example: conrec {name} runs/mt
    """
    return verb
