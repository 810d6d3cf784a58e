"""Training curves of a run, as panels of the report: the seeds are pooled, the stages follow one another."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conrec.files import readable
from conrec.report.charts import Series, binned, lines
from conrec.toml import read_table

SPLITS = {"train": 0, "validation": 1}
"""Split -> number of its colour."""
UNDERSTAND, WARMUP, GRPO = read_table(Path(__file__).with_name("curves.toml")).values()

Curves = dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]
"""(name, split) -> steps and values [n] of all seeds."""


def training_order(stage: str) -> tuple[bool, int, str]:
    """Sorts the names of stages as they are trained: warmup, stage1, stage2, ..., stage10."""
    return stage != "warmup", len(stage), stage


def read_curves(paths: Sequence[Path]) -> Curves:
    """The pooled curves of several seeds; files that are not there are left out."""
    tables = [read_columns(path, ["step", "split", "name", "value"]) for path in paths if path.is_file()]
    if not tables:
        return {}
    table = pa.concat_tables(tables, promote_options="permissive")
    names, splits = (table[c].to_numpy(zero_copy_only=False).astype(str) for c in ("name", "split"))
    steps, values = table["step"].to_numpy(), table["value"].to_numpy().astype(float)
    curves: Curves = {}
    for key in dict.fromkeys(zip(names.tolist(), splits.tolist())):
        here = (names == key[0]) & (splits == key[1]) & np.isfinite(values)
        if here.any():
            order = np.argsort(steps[here], kind="stable")
            curves[key] = steps[here][order], values[here][order]
    return curves


def read_columns(file: Path, columns: list[str], rows: pc.Expression | None = None) -> pa.Table:
    """Some columns of a stage's table, of all rows or of these; ConrecError where it cannot be read."""
    with readable(file, "its"):
        return pq.read_table(file, columns=columns, filters=rows)


def panels(stages: Mapping[str, Curves], words: Mapping[str, tuple[str, str]]) -> list[dict[str, Any]]:
    """One chart for each quantity of `words` (name -> title, caption) that any stage has.

    `rows` are its numbers: stage, split, first, and last.

    stages: label -> curves, in the order they ran; a stage's steps follow those of the stage before.
    """
    starts, at = {}, 0.0
    for label, curves in stages.items():
        if curves:
            starts[label] = at
            at += max(float(steps[-1]) for steps, _ in curves.values())
    # Numbers, for a stage may be so short that words would overlap.
    rules = {label.removeprefix("stage "): start for label, start in starts.items()} if len(starts) > 1 else None
    found: list[dict[str, Any]] = []
    for name, (title, caption) in words.items():
        series: list[Series] = []
        rows = []
        for split in SPLITS:
            pieces = []
            for label, start in starts.items():
                if curve := stages[label].get((name, split)):
                    piece = binned(split, *curve)
                    pieces.append(replace(piece, x=piece.x + start))
                    rows.append((label, split, float(piece.y[0]), float(piece.y[-1])))
            if pieces:
                series.append(_joined(split, pieces))
        if series:
            told = "; ".join(f"{label}, {split}: from {a:.4g} to {b:.4g}" for label, split, a, b in rows)
            svg = lines(series, title, f"{caption}. {told}.", x_title="update", rules=rules, colours=SPLITS)
            found.append({"title": title, "caption": caption, "svg": svg, "rows": rows})
    return found


def _joined(name: str, pieces: Sequence[Series]) -> Series:
    """Stages one after the other as one line, with a gap where a new stage begins."""
    columns = ([[*getattr(piece, of), np.nan] for piece in pieces] for of in ("x", "y", "low", "high"))
    return Series(name, *(np.concatenate(parts)[:-1] for parts in columns))
