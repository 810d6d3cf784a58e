"""A run: all stages in order, by one process or several (docs/engine.md). What is up to date is skipped, what died is
continued.

A run folder holds one folder a stage (`compress/`), or one a stage and seed (`understand/seed0/`), built as
`conrec.pipeline.build` says. A stage is rebuilt when its *key* changes: a hash of the settings that it and the stages
before it declare, of its seed, of the log's files (first stage: names, sizes and times) and of the *contents* of the
folders it reads. A stage that was rebuilt and came out the same (the log was only copied, say) rebuilds nothing after.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from conrec import processes
from conrec.config import Recipe, load_recipe, with_settings
from conrec.data.pseudonyms import Pseudonyms, pseudonyms_for
from conrec.data.sources import Sources, Tables, at_hand, digest, named, told_by_address
from conrec.errors import ConrecError, need
from conrec.files import lock, read_json, tree_digest, value_digest, write_json, write_whole
from conrec.pipeline.build import build, label_of, partial, read_manifest, sound
from conrec.pipeline.job import Job
from conrec.pipeline.settings import restricted
from conrec.pipeline.stage import Stage, direct, imported, inputs_of, without
from conrec.progress import say
from conrec.toml import read_table, to_toml

if TYPE_CHECKING:
    from conrec.features.prepared_log import PreparedLog

LOG = "log"
"""Where a run folder keeps the log that it was given as tables, and copies of remote files."""


def _declared(name: str, function: str, **declared: Any) -> Stage:
    lists: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in declared.items()}
    return Stage(name, imported(f"conrec.stages.{function}"), **lists)


STAGES = tuple(_declared(name, **told) for name, told in read_table(Path(__file__).with_name("stages.toml")).items())
"""All stages of a run, as `stages.toml` declares them."""
_PREPARE = imported("conrec.stages.prepare:prepare", for_lists=False)
FILTER_ALONE = (
    replace(STAGES[0], function=_PREPARE, reads=(*STAGES[0].reads, "sid.levels")),
    *without(STAGES[1:], ("understand", "utilize", "weights", "predict", "evaluate", "report")),
)
"""The stages of a run that predicts no lists."""


def stages_of(recipe: Recipe) -> tuple[Stage, ...]:
    """Those of a run: without those that train the policy where the recipe does not ask it, and without all that is
    about lists where it predicts none."""
    if not recipe.sid.levels:
        return FILTER_ALONE
    return STAGES if recipe.predict.asks_policy else without(STAGES, ("understand", "utilize"))


def run_stages(
    stages: Sequence[Stage],
    recipe: Recipe,
    run: Path,
    data: Sources | None = None,
    images: Path | None = None,
    first: str | None = None,
    last: str | None = None,
    force: bool = False,
    begin: bool = False,
) -> None:
    """Update the stages from `first` to `last` (both included) of the folder `run`.

    Stages before `first` are reused and must be complete. `force` rebuilds stages that are up to date. `begin` notes
    in the folder first what the run is made from (`recipe.toml`, `paths.json`), with no stages nothing but that.
    ConrecError for a stage that does not exist, for one that is missing before `first`, where another process works in
    the folder, and to begin with where it holds something else, and for data that is missing or of no use.
    """
    from conrec.features.prepared_log import PreparedLog

    start, end = _range(stages, first, last)
    if begin:
        _check(recipe, run, data, images)
        if recipe.sid.levels and end:  # said now, not after the log is read
            need("train", "images", "report")
        trains = any(stage.name == "understand" for stage in stages[start : end + 1])
        if trains and recipe.lm.checkpoint and processes.is_main() and not (run / "understand").exists():
            from conrec.lm.model import check_checkpoint

            check_checkpoint(recipe.lm)
    log, local = PreparedLog(run / "prepare", run / "compress"), None
    pseudonyms = Pseudonyms(Path(recipe.salt_file)) if recipe.salt_file else None

    def calls(some: Sequence[Stage]) -> Iterator[tuple[Stage, Job]]:
        for stage in some:
            for seed in recipe.seeds if stage.per_seed else (0,):
                yield stage, job_in(run, stage, stages, recipe, seed, log, local, images, pseudonyms)

    if not processes.is_main():
        for stage, job in calls(stages[start : end + 1]):
            if stage.together and processes.agree(True):
                stage.function(job)
            processes.agree(True)
        return
    with lock(run / ".lock"), told_by_address(run / LOG), contextlib.ExitStack() as last_of_all:
        if pseudonyms:
            last_of_all.callback(shutil.rmtree, run / LOG, ignore_errors=True)  # it holds the ids
        with contextlib.nullcontext() if start == 0 else contextlib.suppress(ConrecError):  # nothing may read it
            local = at_hand(data, run / LOG)
        if begin:
            _note(recipe, run, data, images)
        for stage, job in calls(stages[:start]):
            if not (stage.in_place or _up_to_date(stage, stages, job, run, recipe)):
                say(f"{label_of(stage, job.seed)}: reused, though what it was built from has changed")
        for stage, job in calls(stages[start : end + 1]):
            with contextlib.nullcontext() if stage.together else processes.alone():
                if stage.in_place:
                    say(f"{stage.name}: running")
                    stage.function(job)
                else:
                    folder = folder_of(run, stage, job.seed)
                    build(stage, job, folder, _inputs(stage, stages, job, run, recipe), force)
                    for name in stage.published:
                        write_whole(run / name, (folder / name).read_text(encoding="utf-8"))
            processes.agree(True)  # that it is done: the others wait for this


def job_in(
    run: Path,
    stage: Stage,
    stages: Sequence[Stage],
    recipe: Recipe,
    seed: int,
    log: PreparedLog,
    data: Path | Tables | None = None,
    images: Path | None = None,
    pseudonyms: Pseudonyms | None = None,
) -> Job:
    """A call of a stage in a run folder."""
    folders = {}
    for name, one in direct(stage, stages).items():
        # A stage for one seed reads that seed of the stages before it; one without seeds reads them all.
        seeds = recipe.seeds if one.per_seed and not stage.per_seed else (seed,)
        folders[name] = tuple(folder_of(run, one, number) for number in seeds)
    out = run if stage.in_place else partial(folder_of(run, stage, seed))
    return Job(restricted(recipe, stage.name, stage.reads), out, seed, folders, log, data, images, pseudonyms)


def folder_of(run: Path, stage: Stage, seed: int) -> Path:
    """The folder of a stage, there or not."""
    return run / stage.name / f"seed{seed}" if stage.per_seed else run / stage.name


def examine_stages(run: Path) -> Iterator[tuple[str, str]]:
    """Each stage of a run that is there, and how its folder is damaged or stale; empty: it is neither."""
    (recipe, data, images), local, unread = open_run(run), None, cast("PreparedLog", None)
    stages, pseudonyms = stages_of(recipe), pseudonyms_of(run, recipe)
    with contextlib.suppress(ConrecError):  # a log that is gone is another one
        local = at_hand(data, run / LOG)
    for stage, seed in ((one, seed) for one in stages for seed in (recipe.seeds if one.per_seed else (0,))):
        if folder_of(run, stage, seed).exists():
            try:
                job = job_in(run, stage, stages, recipe, seed, unread, local, images, pseudonyms)
                fresh = _up_to_date(stage, stages, job, run, recipe)
                yield label_of(stage, seed), "" if fresh else "stale: its log or settings have changed since"
            except ConrecError as error:
                yield label_of(stage, seed), str(error)


def _up_to_date(stage: Stage, stages: Sequence[Stage], job: Job, run: Path, recipe: Recipe) -> bool:
    """Whether a stage's folder was made from what there is now; ConrecError where it is not complete, or damaged."""
    manifest = sound(folder_of(run, stage, job.seed), stage.name)
    return bool(manifest["key"] == value_digest(_inputs(stage, stages, job, run, recipe)))


def _inputs(stage: Stage, stages: Sequence[Stage], job: Job, run: Path, recipe: Recipe) -> dict[str, Any]:
    """Everything the stage's result depends on, the contents of earlier folders or the log's files among it."""
    inputs = inputs_of(stage, stages, recipe, job.seed)
    if not stage.after:
        inputs |= {"pseudonyms": job.pseudonyms.fingerprint} if job.pseudonyms else {}
        return inputs | {"data": digest(job.data), "images": tree_digest(job.images, times=True)}
    earlier = {}
    for name, folders in job.folders.items():
        for folder in folders:
            manifest = read_manifest(folder)
            if manifest is None:
                raise ConrecError(f"{folder}: not complete, but {stage.name} reads it; run {name} before")
            earlier[folder.relative_to(run).as_posix()] = manifest["outputs"]
    return inputs | {"earlier": earlier}


def _range(stages: Sequence[Stage], first: str | None, last: str | None) -> tuple[int, int]:
    """Positions of the first and the last stage to run."""
    names = [stage.name for stage in stages]
    for flag, name in (("--from", first), ("--to", last)):
        if name is not None and name not in names:
            raise ConrecError(f"{flag} {name}: this run has no such stage; its stages are {', '.join(names)}")
    begin = names.index(first) if first is not None else 0
    end = names.index(last) if last is not None else len(names) - 1
    if first is not None and last is not None and begin > end:
        raise ConrecError(f"--from {first} --to {last}: {first} comes after {last}; exchange them")
    return begin, end


def _check(recipe: Recipe, run: Path, data: Sources | None, images: Path | None) -> None:
    """ConrecError for a run that cannot begin."""
    at_hand(data, None)
    if images is not None and not images.exists():
        raise ConrecError(f"--images {images}: there is no such file or folder")
    if not data and not recipe.data.simulated:
        raise ConrecError(
            f"--data is missing: the recipe reads a log of the kind {recipe.data.adapter}; say where it is"
        )
    if data and recipe.data.simulated:
        raise ConrecError(f"--data {data}: this recipe simulates its log; leave --data out or set data.adapter in it")
    if recipe.salt_file and recipe.data.simulated:
        raise ConrecError(f"salt_file = {recipe.salt_file!r}: nobody simulated needs a pseudonym; leave it out")
    if not recipe.seeds or len(set(recipe.seeds)) < len(recipe.seeds) or min(recipe.seeds) < 0:
        raise ConrecError(f"seeds {list(recipe.seeds)}: give one or more different numbers, none below 0")
    check_folder(run)


def check_folder(run: Path) -> None:
    """ConrecError for a folder that holds something else than a run."""
    there = {path.name for path in run.iterdir()} - {".lock", LOG} if run.is_dir() else set()
    if processes.is_main() and there and "recipe.toml" not in there:
        raise ConrecError(f"{run}: holds files but is no run folder (no recipe.toml); choose a new one")


def _note(recipe: Recipe, run: Path, data: Sources | None, images: Path | None) -> None:
    """Write what the run is made from. Only who holds the folder's lock may: another's run goes by these files."""
    salt_file = recipe.salt_file and os.path.abspath(recipe.salt_file)
    write_whole(run / "recipe.toml", to_toml(replace(recipe, salt_file=salt_file)))
    write_json(run / "paths.json", {"data": named(data), "images": images and images.resolve()})


def open_run(run: Path) -> tuple[Recipe, Sources | None, Path | None]:
    """Recipe, data and images of a run folder."""
    if not (run / "recipe.toml").is_file():
        raise ConrecError(f"{run}: not a run folder (no recipe.toml); `conrec run RECIPE --out {run}` makes one")
    paths = read_json(run / "paths.json")
    data, images = paths.get("data"), paths.get("images")
    return load_recipe(run / "recipe.toml"), data, images and Path(images)


def pseudonyms_of(run: Path, recipe: Recipe) -> Pseudonyms | None:
    """What stands for the ids of a run's users; None: they do. ConrecError for another salt than the log's."""
    inputs = (read_manifest(run / "prepare") or {}).get("inputs", {})
    return pseudonyms_for(recipe.salt_file, inputs.get("pseudonyms"), run)


def named_recipe(path: Path, settings: Path | None = None) -> Recipe:
    """The recipe that `find_recipe` finds, with the settings of a second one over its own."""
    return with_named(load_recipe(find_recipe(path)), settings)


def with_named(recipe: Recipe, settings: Path | None) -> Recipe:
    """The recipe with the settings that `find_recipe` finds over its own, if there are any."""
    return recipe if settings is None else with_settings(recipe, find_recipe(settings))


def find_recipe(path: Path) -> Path:
    """The file itself, or what comes along by that name: a recipe, or settings for `--with` (`recipes/with`)."""
    if path.exists() or path.parent not in (Path("."), Path("recipes")):
        return path
    package = Path(__file__).resolve().parent
    folders = package / "recipes", package.parents[1] / "recipes"  # in a wheel; in a clone
    for folder in (one / part for one in folders for part in (".", "with")):
        shipped = folder / f"{path.name.removesuffix('.toml')}.toml"
        if shipped.is_file():
            return shipped
    return path
