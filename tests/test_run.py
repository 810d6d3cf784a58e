"""Stages, manifests, resume: with tiny stages, on the real `run_stages`."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conrec.config import FilterConfig, Recipe, SidConfig, UnderstandConfig
from conrec.errors import ConrecError
from conrec.files import lock
from conrec.pipeline.job import Job
from conrec.pipeline.settings import UndeclaredSetting
from conrec.pipeline.stage import Stage
from conrec.run import open_run, run_stages


class Platform:
    """Four tiny stages shaped like the real ones; they note every call and compute from what they read."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.calls: list[str] = []
        self.trouble: Callable[[Job], None] = lambda job: None
        self.stages = (
            Stage("prepare", self.prepare, ("data", "split")),
            Stage("compress", self.compress, ("sid",), after=("prepare",)),
            Stage("train", self.train, ("understand",), after=("compress",), per_seed=True),
            Stage("measure", self.measure, ("filter",), after=("prepare", "train"), published=("metrics.json",)),
            Stage("report", self.report, after=("measure",), in_place=True),
        )

    def prepare(self, job: Job) -> None:
        self.calls.append("prepare")
        text = job.data.read_text() if job.data else "simulated"
        (job.out / "items.txt").write_text(f"{text.strip()} {job.recipe.split.horizon_days}")

    def compress(self, job: Job) -> None:
        self.calls.append("compress")
        (job.out / "ids.txt").write_text((job.of("prepare") / "items.txt").read_text() + f" {job.recipe.sid.codes}")

    def train(self, job: Job) -> None:
        self.calls.append(f"train{job.seed}")
        checkpoint = job.out / "checkpoint.txt"
        steps = checkpoint.read_text() if checkpoint.exists() else ""
        for step in range(len(steps), 6):
            steps += str((step * 7 + job.seed) % 10)
            checkpoint.write_text(steps)
            if step == 2:
                self.trouble(job)
        (job.out / "model.txt").write_text((job.of("compress") / "ids.txt").read_text() + steps)

    def measure(self, job: Job) -> None:
        self.calls.append("measure")
        models = [(folder / "model.txt").read_text() for folder in job.of_seeds("train")]
        (job.out / "metrics.json").write_text(json.dumps({"models": models}))

    def report(self, job: Job) -> None:
        self.calls.append("report")
        (job.out / "report.html").write_text((job.out / "metrics.json").read_text())

    def go(self, recipe: Recipe | None = None, **options: object) -> list[str]:
        """Run, and return which stages were called (but for the report, which always is)."""
        self.calls.clear()
        run_stages(self.stages, recipe or Recipe(), self.run, **options)  # type: ignore[arg-type]
        return [call for call in self.calls if call != "report"]


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    run = tmp_path / "run"
    run.mkdir()
    return Platform(run)


def contents(run: Path) -> dict[str, bytes]:
    """Every file of a run but for the manifests, which hold seconds."""
    files = (p for p in run.rglob("*") if p.is_file() and p.name not in ("manifest.json", ".lock"))
    return {p.relative_to(run).as_posix(): p.read_bytes() for p in files}


def test_a_run_writes_folders_manifests_metrics_and_report(platform: Platform) -> None:
    recipe = Recipe(seeds=(0, 3))
    assert platform.go(recipe) == ["prepare", "compress", "train0", "train3", "measure"]
    for folder in ("prepare", "compress", "train/seed0", "train/seed3", "measure"):
        manifest = json.loads((platform.run / folder / "manifest.json").read_text())
        assert manifest["seconds"] >= 0
        assert manifest["peak_memory_mb"] > 1
        assert {"python", "torch", "transformers", "numpy", "conrec"} <= manifest["versions"].keys()
        assert manifest["seed"] == (int(folder[-1]) if "seed" in folder else None)
    models = json.loads((platform.run / "metrics.json").read_text())["models"]
    assert models == ["simulated 7 0" + "074185", "simulated 7 0" + "307418"]
    assert (platform.run / "report.html").exists()
    assert not list(platform.run.rglob("*.partial")) + list(platform.run.rglob("inputs.json"))


def test_what_is_up_to_date_is_skipped(platform: Platform) -> None:
    platform.go()
    before = (platform.run / "prepare" / "manifest.json").stat().st_mtime_ns
    assert platform.go() == []
    assert (platform.run / "prepare" / "manifest.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"sid": SidConfig(codes=9)}, ["compress", "train0", "measure"]),
        ({"understand": UnderstandConfig(row_tokens=9)}, ["train0", "measure"]),
        ({"filter": FilterConfig(threshold=0.5)}, ["measure"]),
        ({"seeds": (0, 1)}, ["train1", "measure"]),
        ({"name": "another"}, []),
    ],
)
def test_a_changed_recipe_repeats_only_what_depends_on_it(platform: Platform, change: dict, again: list[str]) -> None:
    platform.go()
    assert platform.go(dataclasses.replace(Recipe(), **change)) == again


def test_a_changed_log_repeats_everything_and_a_copied_one_only_the_reading(platform: Platform, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("one")
    assert len(platform.go(data=log)) == 4
    os.utime(log, (1, 1))
    assert platform.go(data=log) == ["prepare"]  # it comes out the same, so nothing after it is repeated
    log.write_text("two")
    assert len(platform.go(data=log)) == 4
    assert "two" in (platform.run / "report.html").read_text()


def test_a_file_added_to_a_data_folder_is_noticed(platform: Platform, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    (pictures / "deep").mkdir(parents=True)
    platform.go(images=pictures)
    (pictures / "deep" / "new.png").write_bytes(b"x")
    assert platform.go(images=pictures) == ["prepare"]


def test_from_to_and_force(platform: Platform) -> None:
    assert platform.go(last="compress") == ["prepare", "compress"]
    assert platform.calls == ["prepare", "compress"]  # no report either
    with pytest.raises(ConrecError, match=r"train/seed0: not there.*run train first"):
        platform.go(first="measure")
    assert platform.go(first="train") == ["train0", "measure"]
    assert platform.go(first="train", last="train", force=True) == ["train0"]
    assert platform.go() == []  # it came out the same
    assert platform.go(force=True) == ["prepare", "compress", "train0", "measure"]


def test_from_takes_earlier_stages_as_they_are_and_says_so(platform: Platform, capsys) -> None:
    platform.go()
    recipe = Recipe(sid=SidConfig(codes=9), understand=UnderstandConfig(row_tokens=9))
    assert platform.go(recipe, first="train") == ["train0", "measure"]
    assert "compress: reused, though" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first": "tarin"}, "--from tarin: this run has no such stage; its stages are prepare, compress, train"),
        ({"last": "nowhere"}, "--to nowhere"),
        ({"first": "measure", "last": "compress"}, "measure comes after compress"),
    ],
)
def test_a_wrong_range_is_explained(platform: Platform, options: dict, message: str) -> None:
    with pytest.raises(ConrecError, match=message):
        platform.go(**options)


def test_an_interrupted_stage_continues_and_ends_in_the_same_bits(platform: Platform, tmp_path: Path) -> None:
    def stop(job: Job) -> None:
        raise KeyboardInterrupt

    platform.trouble = stop
    with pytest.raises(KeyboardInterrupt):
        platform.go()
    assert not (platform.run / "train" / "seed0").exists()
    assert (platform.run / "train" / "seed0.partial" / "checkpoint.txt").read_text() == "074"
    # The second try passes step 2 without trouble only because it starts behind it.
    assert platform.go() == ["train0", "measure"]
    straight = Platform(tmp_path / "straight")
    straight.run.mkdir()
    straight.go()
    assert contents(platform.run) == contents(straight.run)


def test_a_partial_folder_of_other_inputs_is_not_continued(platform: Platform) -> None:
    def stop(job: Job) -> None:
        raise KeyboardInterrupt

    platform.trouble = stop
    with pytest.raises(KeyboardInterrupt):
        platform.go()
    (platform.run / "train" / "seed0.partial" / "checkpoint.txt").write_text("999")
    platform.trouble = lambda job: None
    platform.go(Recipe(understand=UnderstandConfig(row_tokens=9)))
    assert (platform.run / "train" / "seed0" / "checkpoint.txt").read_text() == "074185"


def test_the_old_folder_stays_until_the_new_one_is_whole(platform: Platform) -> None:
    platform.go()
    before = contents(platform.run / "train")

    def look(job: Job) -> None:
        assert contents(platform.run / "train" / "seed0") == {k[6:]: v for k, v in before.items()}
        raise RuntimeError("a bug in the stage")

    platform.trouble = look
    with pytest.raises(RuntimeError):
        platform.go(force=True, first="train")
    assert contents(platform.run / "train" / "seed0") == {k[6:]: v for k, v in before.items()}
    assert (platform.run / "train" / "seed0" / "manifest.json").exists()


def test_death_between_manifest_and_rename_loses_nothing(platform: Platform) -> None:
    platform.go()
    (platform.run / "train" / "seed0").rename(platform.run / "train" / "seed0.partial")
    assert platform.go() == []
    assert (platform.run / "train" / "seed0" / "model.txt").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": 1}'])
def test_a_damaged_manifest_counts_as_none(platform: Platform, text: str) -> None:
    platform.go()
    (platform.run / "compress" / "manifest.json").write_text(text)
    assert platform.go() == ["compress"]


def test_other_versions_are_mentioned_but_do_not_repeat_the_stage(platform: Platform, capsys) -> None:
    platform.go()
    path = platform.run / "compress" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["versions"]["torch"] = "1.0"
    path.write_text(json.dumps(manifest))
    assert platform.go() == []
    assert "compress: was made with other versions (torch 1.0 ->" in capsys.readouterr().err


def test_two_processes_in_one_folder_are_kept_apart(platform: Platform) -> None:
    with (
        lock(platform.run / ".lock"),
        pytest.raises(ConrecError, match=rf"run: process {os.getpid()} on .* works in this folder"),
    ):
        platform.go()
    assert platform.go()


KILLED = """
import os, signal, sys
from pathlib import Path
from test_run import Platform
platform = Platform(Path(sys.argv[1]))
if sys.argv[2] == "die":
    platform.trouble = lambda job: os.kill(os.getpid(), signal.SIGKILL)
print(platform.go())
"""


@pytest.mark.slow
def test_a_killed_process_continues(tmp_path: Path) -> None:
    def go(run: str, how: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / run).mkdir(exist_ok=True)
        command = [sys.executable, "-c", KILLED, str(tmp_path / run), how]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)

    assert go("killed", "die").returncode == -signal.SIGKILL
    again = go("killed", "live")
    assert "train (seed 0): continuing" in again.stderr
    assert again.stdout.strip() == "['train0', 'measure']"
    assert go("straight", "live").returncode == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "straight")


def test_a_run_folder_remembers_its_recipe_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log").mkdir()
    recipe = Recipe(name='odd "name" 🦆', seeds=(4, 2), data=dataclasses.replace(Recipe().data, adapter="generic"))
    run_stages((), recipe, Path("out"), Path("log"), None, begin=True)
    monkeypatch.chdir("/")
    assert open_run(tmp_path / "out") == (recipe, [str(tmp_path / "log")], None)


@pytest.mark.parametrize(
    ("adapter", "data", "seeds", "message"),
    [
        ("generic", None, (0,), "--data is missing"),
        ("generic", "nowhere", (0,), "nowhere: there is no such file or folder"),
        ("simulated", ".", (0,), "this recipe simulates its log"),
        ("simulated", None, (), "give one or more different numbers"),
        ("simulated", None, (1, 1), "give one or more different numbers"),
        ("simulated", None, (-1,), "none below 0"),
    ],
)
def test_a_run_that_cannot_begin_says_why(
    tmp_path: Path, adapter: str, data: str | None, seeds: tuple[int, ...], message: str
) -> None:
    recipe = Recipe(seeds=seeds, data=dataclasses.replace(Recipe().data, adapter=adapter))
    with pytest.raises(ConrecError, match=message):
        run_stages((), recipe, tmp_path / "out", Path(data) if data else None, None, begin=True)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "prepare").mkdir()
    with pytest.raises(ConrecError, match="is no run folder"):
        run_stages((), Recipe(), tmp_path, None, None, begin=True)
    with pytest.raises(ConrecError, match="not a run folder"):
        open_run(tmp_path)


def test_a_stage_does_not_inherit_the_settings_of_those_before_it(platform: Platform) -> None:
    later = Stage("later", lambda job: print(job.recipe.split), after=("prepare",))
    platform.stages = (*platform.stages[:1], later)
    with pytest.raises(UndeclaredSetting, match="the stage later reads split"):
        platform.go()


def test_a_run_that_is_refused_leaves_the_recipe_of_the_running_one(platform: Platform) -> None:
    run_stages((), Recipe(name="running"), platform.run, None, None, begin=True)
    with lock(platform.run / ".lock"):
        with pytest.raises(ConrecError, match="works in this folder"):
            run_stages((), Recipe(name="refused"), platform.run, None, None, begin=True)
        with pytest.raises(ConrecError, match="works in this folder"):
            platform.go(Recipe(name="refused"), begin=True)
    assert open_run(platform.run)[0].name == "running"
    assert platform.go(Recipe(name="next"), begin=True)
    assert open_run(platform.run)[0].name == "next"


@pytest.mark.parametrize("file", ["ids.txt", "more.txt"])
def test_a_damaged_stage_is_not_read(platform: Platform, file: str) -> None:
    platform.go()
    whole = contents(platform.run)
    (platform.run / "compress" / file).write_text("another")
    for options in ({"first": "train", "force": True}, {"first": "train", "last": "train", "force": True}):
        with pytest.raises(ConrecError, match=r"compress: damaged \(its digest is another\); run compress again with"):
            platform.go(**options)
        assert platform.calls == []
    assert platform.go(first="compress", last="compress", force=True) == ["compress"]
    assert platform.go() == []  # what was made of it before is as it was
    assert contents(platform.run) == whole


def test_a_log_that_is_gone_is_said_and_later_stages_go_on_without_it(platform: Platform, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("one")
    platform.go(data=log)
    whole = contents(platform.run)
    times = log.stat().st_mtime_ns
    log.unlink()
    with pytest.raises(ConrecError, match=r"log\.txt: there is no such file"):
        platform.go(data=log)
    assert contents(platform.run) == whole
    assert platform.go(data=log, first="train", force=True) == ["train0", "measure"]
    log.write_text("one")
    os.utime(log, ns=(times, times))
    assert platform.go(data=log) == []
    assert contents(platform.run) == whole


def test_a_log_that_vanishes_while_it_is_read_leaves_what_was_there(platform: Platform, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("one")
    platform.go(data=log)
    whole = contents(platform.run)
    read = platform.prepare

    def late(job: Job) -> None:
        log.unlink()
        read(job)

    platform.stages = (dataclasses.replace(platform.stages[0], function=late), *platform.stages[1:])
    with pytest.raises(FileNotFoundError):
        platform.go(data=log, force=True)
    assert {name: content for name, content in contents(platform.run).items() if ".partial/" not in name} == whole
    log.write_text("two")
    platform.stages = (dataclasses.replace(platform.stages[0], function=read), *platform.stages[1:])
    assert len(platform.go(data=log)) == 4
    assert not list(platform.run.rglob("*.partial"))
