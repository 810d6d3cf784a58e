"""The stages in order: skip what is done, continue what died, rebuild what its inputs changed.

A run folder holds one folder a stage (`compress/`), or one a stage and seed (`understand/seed0/`). A stage writes
into `<folder>.partial/`; when it is through, `manifest.json` is written there last and the folder takes its name
in one rename. What bears its name is therefore whole, and what died is continued.

A stage is rebuilt when its *key* changes: a hash of its part of the recipe and that of the stages before it, of
its seed, of the log's files (first stage: names, sizes and times) and of the *contents* of the folders it reads. A
stage that was rebuilt and came out the same (the log was only copied, say) thus rebuilds nothing after it.

Started as several processes (see `processes`), the main one does all this; the others join in where a stage trains.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import platform
import resource
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conrec import __version__, processes
from conrec.config import Recipe, load_recipe
from conrec.errors import ConrecError
from conrec.files import file_digest, lock, read_json, value_digest, write_whole
from conrec.progress import say
from conrec.toml import to_toml

if TYPE_CHECKING:
    from conrec.features.prepared_log import PreparedLog

NO_OUTPUT = ("manifest.json", "inputs.json")


@dataclass(frozen=True)
class Job:
    """What a stage is called with."""

    recipe: Recipe
    run: Path
    out: Path
    """Where it writes (the partial folder)."""
    data: Path | None
    images: Path | None
    seed: int
    """Of this call; 0 for a stage that knows no seeds."""
    log: PreparedLog
    """What `prepare` and `compress` wrote; all stages of a run share it, so that the log is parsed once."""

    def of(self, stage: str) -> Path:
        """The folder of an earlier stage without seeds."""
        return self.run / stage

    def of_seed(self, stage: str) -> Path:
        """The folder of an earlier stage, for this call's seed."""
        return self.run / stage / f"seed{self.seed}"

    def of_seeds(self, stage: str) -> list[Path]:
        """The folders of an earlier stage, one a seed."""
        return [self.run / stage / f"seed{seed}" for seed in self.recipe.seeds]


@dataclass(frozen=True)
class Stage:
    """One step of a run."""

    name: str
    function: Callable[[Job], None]
    sections: tuple[str, ...] = ()
    """Parts of the recipe it depends on, beside those of the stages before it: `items`, or `predict.beams`."""
    after: tuple[str, ...] = ()
    """Earlier stages whose folders it reads; a stage that names none reads the log."""
    per_seed: bool = False
    together: bool = False
    """It trains: several processes work on it, where there are several. Otherwise the main process is alone."""
    published: tuple[str, ...] = ()
    """Files of its folder that are copied up into the run folder."""
    in_place: bool = False
    """It writes into the run folder itself and is repeated every time (the report)."""


def _prepare(job: Job) -> None:
    from conrec.stages.prepare import prepare

    prepare(job.recipe, job.data, job.images, job.out)


def _compress(job: Job) -> None:
    from conrec.stages.compress import compress

    compress(job.recipe, job.log, job.out)


def _understand(job: Job) -> None:
    from conrec.stages.understand import understand

    understand(job.recipe, job.log, job.out, job.seed)


def _utilize(job: Job) -> None:
    from conrec.stages.utilize import utilize

    utilize(job.recipe, job.log, job.of_seed("understand"), job.out, job.seed)


def _score(job: Job) -> None:
    from conrec.stages.score import learn_score

    learn_score(job.recipe, job.of("prepare"), job.of("compress"), job.out, job.seed)


def _predict(job: Job) -> None:
    from conrec.stages.predict import predict

    folders = job.of("prepare"), job.of("compress"), job.of_seed("utilize"), job.of_seed("score")
    predict(job.recipe, *folders, job.out, job.seed)


def _filter(job: Job) -> None:
    from conrec.stages.filter import filter_replay

    folders = job.of("prepare"), job.of("compress"), job.of_seed("score"), job.of_seed("predict")
    filter_replay(job.recipe, *folders, job.out, job.seed)


def _evaluate(job: Job) -> None:
    from conrec.stages.evaluate import evaluate

    predicted, filtered = job.of_seeds("predict"), job.of_seeds("filter")
    evaluate(job.recipe, job.log, predicted, filtered, job.out)


def _report(job: Job) -> None:
    from conrec.stages.report import report

    report(job.run)


OF_DECODING = ("k", "beams", "batch", "prior_days", "prior_smoothing", "prior_weights")
"""What training shares with prediction; the rest of `[predict]` can be changed without training again."""

STAGES: tuple[Stage, ...] = (
    Stage("prepare", _prepare, ("data", "simulate", "split", "evaluate.k")),
    Stage("compress", _compress, ("items", "sid"), after=("prepare",)),
    Stage(
        "understand",
        _understand,
        ("lm", "understand"),
        after=("prepare", "compress"),
        per_seed=True,
        together=True,
    ),
    Stage(
        "utilize",
        _utilize,
        ("utilize", *(f"predict.{name}" for name in OF_DECODING)),
        after=("prepare", "compress", "understand"),
        per_seed=True,
        together=True,
    ),
    Stage("score", _score, after=("prepare", "compress"), per_seed=True),
    Stage("predict", _predict, ("predict",), after=("prepare", "compress", "utilize", "score"), per_seed=True),
    Stage("filter", _filter, ("filter",), after=("prepare", "compress", "score", "predict"), per_seed=True),
    Stage(
        "evaluate",
        _evaluate,
        ("name", "seeds", "evaluate"),
        after=("prepare", "compress", "predict", "filter"),
        published=("metrics.json",),
    ),
    Stage("report", _report, after=("evaluate",), in_place=True),
)


def run_stages(
    stages: Sequence[Stage],
    recipe: Recipe,
    run: Path,
    data: Path | None = None,
    images: Path | None = None,
    first: str | None = None,
    last: str | None = None,
    force: bool = False,
) -> None:
    """Update the stages from `first` to `last` (both included) of the folder `run`.

    Stages before `first` are reused and must be complete. `force` rebuilds stages that are up to date. ConrecError for
    a stage that does not exist, for one that is missing before `first`, and where another process works in the folder.
    """
    from conrec.features.prepared_log import PreparedLog

    begin, end = _range(stages, first, last)
    log = PreparedLog(run / "prepare", run / "compress")
    if not processes.is_main():
        for stage in stages[begin : end + 1]:
            for seed in _seeds(stage, recipe):
                _join_in(stage, Job(recipe, run, _partial(_folder(run, stage, seed)), data, images, seed, log))
        return
    with lock(run / ".lock"):
        for stage in stages[:begin]:
            for seed in _seeds(stage, recipe):
                _reuse(stage, stages, Job(recipe, run, run, data, images, seed, log))
        for stage in stages[begin : end + 1]:
            for seed in _seeds(stage, recipe):
                out = run if stage.in_place else _partial(_folder(run, stage, seed))
                job = Job(recipe, run, out, data, images, seed, log)
                with contextlib.nullcontext() if stage.together else processes.alone():
                    if stage.in_place:
                        say(f"{stage.name}: running")
                        stage.function(job)
                    else:
                        _update(stage, stages, job, force)
                processes.agree(True)  # that it is done: the others wait for this


def _join_in(stage: Stage, job: Job) -> None:
    """What the other processes do while the main one updates a stage: train along, or wait."""
    if stage.together and processes.agree(True):
        stage.function(job)
    processes.agree(True)


def _reuse(stage: Stage, stages: Sequence[Stage], job: Job) -> None:
    """Make sure that a stage before the first one is there, and say so if it would have been rebuilt."""
    if stage.in_place:
        return
    folder = _folder(job.run, stage, job.seed)
    manifest = _manifest(folder)
    if manifest is None:
        raise ConrecError(f"{folder}: not there or not complete, and later stages read it; run {stage.name} first")
    if manifest["key"] != value_digest(_inputs(stage, stages, job)):
        say(f"{_label(stage, job)}: reused, though what it was made from has changed")


def _update(stage: Stage, stages: Sequence[Stage], job: Job, force: bool) -> None:
    """Skip the stage, or run it and put its folder in place."""
    folder = _folder(job.run, stage, job.seed)
    label = _label(stage, job)
    inputs = _inputs(stage, stages, job)
    key = value_digest(inputs)
    manifest = _manifest(folder)
    up_to_date = manifest is not None and manifest["key"] == key and not force
    # It died between the manifest and the rename.
    done_before = not force and (_manifest(job.out) or {}).get("key") == key
    if stage.together and (up_to_date or done_before):
        processes.agree(False)  # no need to join in
    if manifest is not None and up_to_date:
        say(f"{label}: up to date")
        _warn_of_versions(label, manifest["versions"])
    elif done_before:
        _put_in_place(job.out, folder)
        say(f"{label}: done before")
    else:
        seconds, peak = _run(stage, label, job, inputs, key, force)
        manifest = {
            "stage": stage.name,
            "seed": job.seed if stage.per_seed else None,
            "key": key,
            "inputs": inputs,
            "outputs": _digest(job.out),
            "versions": _versions(),
            "seconds": round(seconds, 2),
            "peak_memory_mb": round(peak),
        }
        write_whole(job.out / "manifest.json", json.dumps(manifest, indent=1))
        _put_in_place(job.out, folder)
        say(f"{label}: done in {seconds:.1f} s, {peak:.0f} MB at most")
    for name in stage.published:
        write_whole(job.run / name, (folder / name).read_text(encoding="utf-8"))


def _run(stage: Stage, label: str, job: Job, inputs: dict[str, Any], key: str, force: bool) -> tuple[float, float]:
    """Call the stage's function on its partial folder; seconds and peak memory (MB) of this call."""
    if not force and _read(job.out / "inputs.json").get("key") == key:
        say(f"{label}: continuing")
    else:
        # Nothing is there, or the remains of a try with other inputs: those must not be continued.
        shutil.rmtree(job.out, ignore_errors=True)
        job.out.mkdir(parents=True)
        write_whole(job.out / "inputs.json", json.dumps({"key": key, "inputs": inputs}, indent=1))
        say(f"{label}: running")
    _reset_peak_memory()
    start = time.monotonic()
    if stage.together:
        processes.agree(True)
    stage.function(job)
    return time.monotonic() - start, _peak_memory_mb()


def _put_in_place(partial: Path, folder: Path) -> None:
    """Let the finished partial folder take its name. No moment leaves a folder of that name that is not whole."""
    (partial / "inputs.json").unlink(missing_ok=True)
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _inputs(stage: Stage, stages: Sequence[Stage], job: Job) -> dict[str, Any]:
    """Everything the stage's result depends on; equal inputs, equal result."""
    by_name = {other.name: other for other in stages}
    earlier = {}
    for name in stage.after:
        # A stage for one seed reads that seed of the stages before it; one without seeds reads them all.
        seeds = [job.seed] if stage.per_seed else _seeds(by_name[name], job.recipe)
        for folder in dict.fromkeys(_folder(job.run, by_name[name], seed) for seed in seeds):
            manifest = _manifest(folder)
            if manifest is None:
                raise ConrecError(f"{folder}: not complete, but {stage.name} reads it; run {name} before")
            earlier[folder.relative_to(job.run).as_posix()] = manifest["outputs"]
    sections = sections_of(stage, stages)
    inputs: dict[str, Any] = {
        "stage": stage.name,
        "seed": job.seed if stage.per_seed else None,
        "recipe": {section: _plain(attrgetter(section)(job.recipe)) for section in sections},
        "earlier": earlier,
    }
    if not stage.after:
        inputs["data"] = _files(job.data)
        inputs["images"] = _files(job.images)
    return inputs


def sections_of(stage: Stage, stages: Sequence[Stage]) -> tuple[str, ...]:
    """The parts of the recipe that a stage depends on: its own and those of all stages before it."""
    earlier = [sections_of(other, stages) for other in stages if other.name in stage.after]
    return tuple(dict.fromkeys([section for sections in earlier for section in sections] + list(stage.sections)))


def _files(path: Path | None) -> str | None:
    """Hash of the names, sizes and times of a file or of all files below a folder."""
    if path is None:
        return None
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    stats = [(file.relative_to(path).as_posix(), file.stat()) for file in files]
    return value_digest([[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats])


def _digest(folder: Path) -> str:
    """Hash of the names and contents of all files below a stage's folder, but for our own notes."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.relative_to(folder).as_posix() not in NO_OUTPUT)
    return value_digest([[path.relative_to(folder).as_posix(), file_digest(path)] for path in files])


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]


def _label(stage: Stage, job: Job) -> str:
    return f"{stage.name} (seed {job.seed})" if stage.per_seed else stage.name


def _folder(run: Path, stage: Stage, seed: int) -> Path:
    return run / stage.name / f"seed{seed}" if stage.per_seed else run / stage.name


def _partial(folder: Path) -> Path:
    return folder.with_name(folder.name + ".partial")


def _seeds(stage: Stage, recipe: Recipe) -> tuple[int, ...]:
    return recipe.seeds if stage.per_seed else (0,)


def _manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a complete folder; None where there is none or it cannot be read."""
    manifest = _read(folder / "manifest.json")
    return manifest if {"key", "outputs", "versions"} <= manifest.keys() else None


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; empty where it is not there or not whole."""
    try:
        return read_json(path)
    except ConrecError:
        return {}


def _range(stages: Sequence[Stage], first: str | None, last: str | None) -> tuple[int, int]:
    """Positions of the first and the last stage to run."""
    names = [stage.name for stage in stages]
    for flag, name in (("--from", first), ("--to", last)):
        if name is not None and name not in names:
            raise ConrecError(f"{flag} {name}: there is no such stage; the stages are {', '.join(names)}")
    begin = names.index(first) if first is not None else 0
    end = names.index(last) if last is not None else len(names) - 1
    if begin > end:
        raise ConrecError(f"--from {first} --to {last}: {first} comes after {last}; exchange them")
    return begin, end


def _versions() -> dict[str, str]:
    """Versions that a result may depend on."""
    found = {"conrec": __version__, "python": platform.python_version()}
    for name in ("torch", "transformers", "numpy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _warn_of_versions(label: str, then: dict[str, str]) -> None:
    """Other versions are no reason to throw hours of work away, but the user should know."""
    changed = [f"{name} {then.get(name)} -> {now}" for name, now in _versions().items() if then.get(name) != now]
    if changed:
        say(f"{label}: was made with other versions ({', '.join(changed)}); --force rebuilds it")


def _reset_peak_memory() -> None:
    """Let the peak begin anew, so that it is this stage's and not that of one before (Linux only)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if platform.system() == "Darwin" else 1 << 10)


def start_run(recipe: Recipe, run: Path, data: Path | None, images: Path | None) -> None:
    """Make the run folder and note in it what it is made from (`recipe.toml`, `paths.json`).

    Raises ConrecError where the folder holds something else, and for data that is missing or of no use.
    """
    for flag, path in (("--data", data), ("--images", images)):
        if path is not None and not path.exists():
            raise ConrecError(f"{flag} {path}: there is no such file or folder")
    if data is None and not recipe.data.simulated:
        raise ConrecError(
            f"--data is missing: the recipe reads a log of the kind {recipe.data.adapter}; say where it is"
        )
    if data is not None and recipe.data.simulated:
        raise ConrecError(f"--data {data}: this recipe simulates its log; leave --data out or set data.adapter in it")
    if not recipe.seeds or len(set(recipe.seeds)) < len(recipe.seeds) or min(recipe.seeds) < 0:
        raise ConrecError(f"seeds {list(recipe.seeds)}: give one or more different numbers, none below 0")
    if not processes.is_main():
        return
    try:
        run.mkdir(parents=True, exist_ok=True)
        if not (run / "recipe.toml").exists() and any(run.iterdir()):
            raise ConrecError(f"{run}: holds files but is no run folder (no recipe.toml); choose a new one")
        write_whole(run / "recipe.toml", to_toml(recipe))
        paths = {"data": data and str(data.resolve()), "images": images and str(images.resolve())}
        write_whole(run / "paths.json", json.dumps(paths, indent=1))
    except OSError as error:
        raise ConrecError(f"{run}: cannot be written: {error.strerror}; choose another folder") from None


def open_run(run: Path) -> tuple[Recipe, Path | None, Path | None]:
    """Recipe, data and images of a run folder that `start_run` made."""
    if not (run / "recipe.toml").is_file():
        raise ConrecError(f"{run}: not a run folder (no recipe.toml); `conrec run RECIPE --out {run}` makes one")
    paths = _read(run / "paths.json")
    data, images = paths.get("data"), paths.get("images")
    return load_recipe(run / "recipe.toml"), data and Path(data), images and Path(images)


def find_recipe(path: Path) -> Path:
    """The file itself, or the recipe of that name that comes with the package (`demo`, `recipes/demo.toml`)."""
    if path.exists() or path.parent not in (Path("."), Path("recipes")):
        return path
    package = Path(__file__).resolve().parent
    for folder in (package / "recipes", package.parents[1] / "recipes"):  # in a wheel; in a clone
        shipped = folder / f"{path.name.removesuffix('.toml')}.toml"
        if shipped.is_file():
            return shipped
    return path
