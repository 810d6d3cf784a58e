"""Cells are run once, one by one, and are there as a whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest

from conrec.config import UtilizeConfig
from conrec.files import lock
from conrec.studies.cells import Cell, Measured, cached, key, link, lock_of, run_cells


class Runs:
    """Counts which cells were really run."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def cell(self, system: str, seed: int, setting: int = 0) -> Cell:
        def run() -> Measured:
            self.names.append(f"{system}{seed}")
            values = {"FHR@20": np.array([seed, np.nan, 1.0])}
            return Measured(np.array([7, 8, 9]), np.array(["a", "b", "a"]), values, {"settings": setting})

        return Cell("toy", system, seed, {"system": system, "seed": seed, "setting": setting}, run)


def test_a_second_call_runs_nothing_and_reads_the_same(tmp_path: Path) -> None:
    runs = Runs()
    cells = [runs.cell("x", 0), runs.cell("y", 0)]
    first, second = run_cells(cells, tmp_path), run_cells(cells, tmp_path)
    assert runs.names == ["x0", "y0"]
    for one, two in zip(first, second, strict=True):
        assert (one.system, one.seed, one.measured.facts) == (two.system, two.seed, two.measured.facts)
        np.testing.assert_array_equal(two.measured.ids, [7, 8, 9])
        np.testing.assert_array_equal(two.measured.users, ["a", "b", "a"])
        np.testing.assert_array_equal(two.measured.values["FHR@20"], [0, np.nan, 1])


def test_an_added_seed_and_a_changed_setting_run_alone(tmp_path: Path) -> None:
    runs = Runs()
    run_cells([runs.cell("x", 0)], tmp_path)
    run_cells([runs.cell("x", 0), runs.cell("x", 1)], tmp_path)
    assert runs.names == ["x0", "x1"]
    run_cells([runs.cell("x", 0, setting=1), runs.cell("x", 1)], tmp_path)
    assert runs.names == ["x0", "x1", "x0"]


def test_the_same_cell_in_two_studies_is_run_once(tmp_path: Path) -> None:
    runs = Runs()
    done = run_cells([runs.cell("x", 0), runs.cell("x", 0)], tmp_path)
    assert runs.names == ["x0"]
    assert len(done) == 1


def test_a_cell_that_dies_leaves_nothing_that_counts(tmp_path: Path) -> None:
    runs = Runs()
    died = replace(runs.cell("x", 0), run=lambda: _die())
    with pytest.raises(KeyboardInterrupt):
        run_cells([died], tmp_path)
    assert not died.folder(tmp_path).exists()
    run_cells([runs.cell("x", 0)], tmp_path)
    assert runs.names == ["x0"]


def test_what_an_interrupted_make_left_is_continued(tmp_path: Path) -> None:
    def half(out: Path) -> None:
        (out / "checkpoint").write_text("half")
        _die()

    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path / "model", half)
    seen = []
    cached(tmp_path / "model", lambda out: seen.append((out / "checkpoint").read_text()))
    assert seen == ["half"]
    cached(tmp_path / "model", half)  # there already


@pytest.mark.parametrize("order", ["both asked for", "the free one later"])
@pytest.mark.parametrize("what", ["the cell", "what it shares"])
def test_a_cell_that_another_process_holds_up_comes_last(tmp_path: Path, what: str, order: str) -> None:
    runs = Runs()
    shared = tmp_path / "models" / "settings"
    taken, free = replace(runs.cell("x", 0), shared=(shared,)), runs.cell("y", 0)
    held, let_go = Event(), Event()

    def other_process() -> None:
        with lock(lock_of(taken.folder(tmp_path) if what == "the cell" else shared)):
            held.set()
            let_go.wait(20)

    other = Thread(target=other_process)
    other.start()
    held.wait(20)

    def last_one_lets_go() -> Measured:
        let_go.set()
        other.join()
        return free.run()

    both = [taken, replace(free, run=last_one_lets_go)]
    asked = both if order == "both asked for" else both[:1]
    done = run_cells(asked, tmp_path, later=both)
    assert runs.names == ["y0", "x0"]
    assert [one.system for one in done] == [cell.system for cell in asked]


def test_what_comes_later_is_not_run_before_its_time(tmp_path: Path) -> None:
    runs = Runs()
    run_cells([runs.cell("x", 0)], tmp_path, later=[runs.cell("y", 0)])
    assert runs.names == ["x0"]


def test_two_at_once_make_a_folder_once(tmp_path: Path) -> None:
    calls: list[Path] = []
    threads = [Thread(target=cached, args=(tmp_path / "shared", calls.append)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_time_left_is_told_from_what_is_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = Runs()
    run_cells([runs.cell("x", 0), runs.cell("y", 0)], tmp_path)
    for path in tmp_path.glob("toy/x-*/seconds.json"):
        path.write_text("600")
    for path in tmp_path.glob("toy/y-*/seconds.json"):
        path.write_text("60")
    capsys.readouterr()
    run_cells([runs.cell("x", 0)], tmp_path, later=[runs.cell("x", 1), runs.cell("y", 1), runs.cell("y", 2)])
    assert "3 cells to run: about 12 min" in capsys.readouterr().err


def test_keys_know_values_not_objects() -> None:
    assert key({"a": UtilizeConfig(), "b": (1, 2)}) == key({"b": [1, 2], "a": UtilizeConfig()})
    assert key(UtilizeConfig()) != key(UtilizeConfig(gamma=0.25))
    with pytest.raises(TypeError):
        key({"a": object()})


def test_a_linked_folder_takes_no_room_and_outlives_its_source(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_text("text")
    link(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "c" / "b" / "file").samefile(tmp_path / "a" / "b" / "file")
    (tmp_path / "a" / "b" / "file").unlink()
    assert (tmp_path / "c" / "b" / "file").read_text() == "text"


def _die() -> Measured:
    raise KeyboardInterrupt
