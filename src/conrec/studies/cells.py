"""Cells: the single runs that the studies are put together from, each cached in a folder named by all that it depends
on but for the code (docs/studies.md).

What cells need on the way (a prepared log, a trained model) is kept in the same manner; see `studies.models`. Several
processes may work in one folder, each at another cell.
"""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conrec.files import flush, lock, locked, value_digest, write_whole
from conrec.progress import say


@dataclass(frozen=True)
class Measured:
    """Measurements of a cell: a value per instance and metric, and whatever else is worth keeping."""

    ids: np.ndarray
    """int64 [B]: what identifies an instance (of the same data set and fold)."""
    users: np.ndarray
    """str [B]."""
    values: dict[str, np.ndarray]
    """Metric -> float [B], NaN where the instance does not count."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Chosen settings and the like, for JSON."""


@dataclass(frozen=True)
class Cell:
    """One run: what it depends on, and how it is made."""

    dataset: str
    system: str
    seed: int
    inputs: dict[str, Any]
    """Everything its result depends on, but for the code."""
    run: Callable[[], Measured]
    fold: int = 0
    """Users and instances of different folds are different ones."""
    shared: tuple[Path, ...] = ()
    """Folders that it needs and other cells, too, and that take long to make: logs, models, what was tried."""

    def folder(self, root: Path) -> Path:
        """Folder of its result."""
        return root / self.dataset / f"{self.system}-seed{self.seed}-{key(self.inputs)}"


@dataclass(frozen=True)
class CellResult:
    """A cell with its result."""

    dataset: str
    system: str
    seed: int
    fold: int
    measured: Measured


def run_cells(cells: Sequence[Cell], root: Path, later: Sequence[Cell] = ()) -> list[CellResult]:
    """Run what is missing, read what is there; in the order given, equal cells once.

    Says after each run how long it took and, by what the cells so far took, how long the rest will, with those that
    come `later`. Where another process is at all that is missing, some of those are run meanwhile.
    """
    asked = {cell.folder(root): cell for cell in cells}
    known = asked | {cell.folder(root): cell for cell in later}
    left = [folder for folder in known if not folder.exists()]
    if left:
        say(f"{len(left)} cells to run: {_left(left, root)}")
    while missing := [folder for folder in asked if not folder.exists()]:
        # What another process is at, or at something that it needs, comes when nothing else is left.
        free = (one for one in left if not any(locked(lock_of(each)) for each in (one, *known[one].shared)))
        folder = next(free, missing[0])
        cell = known[folder]
        name = f"{cell.dataset}, {cell.system}, seed {cell.seed}"
        say(f"{name}: running")
        cached(folder, lambda out, cell=cell: _write(cell.run(), out))  # type: ignore[misc]
        left = [other for other in left if not other.exists()]
        say(f"{name}: done in {read_seconds(folder):.0f} s; {len(left)} cells left: {_left(left, root)}")
    return [read_cell(folder, cell) for folder, cell in asked.items()]


def cached(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`, after `make` wrote into it under another name if it was not there.

    A folder of that name is always whole. What an interrupted `make` left is handed to the next one, to continue.
    """
    if folder.exists():
        return folder
    with lock(lock_of(folder), wait=True):  # another process may be making it
        if not folder.exists():
            partial = folder.with_name(folder.name + ".partial")
            partial.mkdir(exist_ok=True)
            start = time.process_time()  # waiting, and work of others on the same cores, is none of its time
            make(partial)
            write_whole(partial / "seconds.json", json.dumps(round(time.process_time() - start, 2)))
            partial.rename(folder)
    return folder


def lock_of(folder: Path) -> Path:
    """The lock file of a folder that may not be there yet."""
    return folder.with_name(folder.name + ".lock")


def read_seconds(folder: Path) -> float:
    """Seconds of processor time that a folder took, what it needed on the way and was not there yet included."""
    return float(json.loads((folder / "seconds.json").read_text(encoding="utf-8")))


def key(inputs: Any) -> str:
    """A short name for all that something depends on: dataclasses, paths, and what JSON knows."""
    return value_digest(inputs)[:12]


def link(source: Path, target: Path) -> None:
    """A copy of a folder that takes no room: the files are the same ones, and nobody changes them."""
    shutil.copytree(source, target, copy_function=_hard_link, dirs_exist_ok=True)


def _hard_link(source: str, target: str) -> None:
    Path(target).unlink(missing_ok=True)
    Path(target).hardlink_to(source)


def _write(measured: Measured, out: Path) -> None:
    table = {"instance_id": pa.array(measured.ids, pa.int64()), "user_id": pa.array(measured.users.tolist())}
    # A NaN stays a NaN: an instance that does not count is no missing value.
    columns = {f"metric {name}": pa.array(np.asarray(v, np.float32)) for name, v in measured.values.items()}
    pq.write_table(pa.table(table | columns), out / "hits.parquet")
    flush(out / "hits.parquet")
    write_whole(out / "cell.json", json.dumps(measured.facts, indent=1))


def read_cell(folder: Path, cell: Cell) -> CellResult:
    """Result of a cell, from its folder."""
    table = pq.read_table(folder / "hits.parquet")
    names = [name for name in table.column_names if name.startswith("metric ")]
    measured = Measured(
        table["instance_id"].to_numpy(),
        table["user_id"].to_numpy().astype(str),
        {name.removeprefix("metric "): table[name].to_numpy() for name in names},
        json.loads((folder / "cell.json").read_text(encoding="utf-8")),
    )
    return CellResult(cell.dataset, cell.system, cell.seed, cell.fold, measured)


def _left(left: Sequence[Path], root: Path) -> str:
    """About how long the cells that are left take, by the mean of what is nearest to each among those done.

    Nearest: the same system on the same data set; any on that data set; any at all.
    """
    times: dict[tuple[str, str], list[float]] = {}
    for path in root.glob("*/*/seconds.json"):
        times.setdefault((path.parent.parent.name, _system(path.parent)), []).append(read_seconds(path.parent))
    if not times:
        return "nothing measured yet"
    total = 0.0
    for path in left:
        dataset, system = path.parent.name, _system(path)
        near = times.get((dataset, system)) or [s for (d, _), values in times.items() if d == dataset for s in values]
        total += float(np.mean(near or [s for values in times.values() for s in values]))
    return f"about {total / 3600:.1f} h" if total > 3600 else f"about {total / 60:.0f} min"


def _system(folder: Path) -> str:
    return folder.name.rsplit("-seed", 1)[0]
