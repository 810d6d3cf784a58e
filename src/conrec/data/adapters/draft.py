"""A recipe for a log of one's own, drafted from what its columns are called and what stands in them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conrec.config import DataConfig
from conrec.data.adapters import columns, files
from conrec.data.schema import KINDS, REASONS
from conrec.progress import say
from conrec.toml import read_table

ELSEWHERE = read_table(Path(__file__).with_name("draft.toml"))
EVENTS, ITEMS, WORDS = (ELSEWHERE[name] for name in ("events", "items", "kinds"))
"""What our columns and kinds are called elsewhere."""
MOST = 50
"""A column of more different codes has no kinds."""


def draft(events: Sequence[Path], items: Sequence[Path]) -> DataConfig:
    """The table `data` of a recipe for these files, by the first of each. What is a guess is said."""
    named = _named(files.header(events[0]), EVENTS)
    told = [name for name in ("kind", "reason", "value") if name in named]
    raw = files.read(events[0], [named[name] for name in told]).table if told else None
    cells = {name: columns.words(raw[named[name]])[0] for name in told} if raw is not None else {}
    codes = {name: pc.unique(cells[name]).drop_null().to_pylist() for name in told}
    kinds = _kinds([code for code in codes.get("kind", []) if code != ""])
    if not kinds:
        named.pop("kind", None)
    if not set(codes.get("reason", [])) <= {"", *REASONS}:
        say(f"{events[0]}: the reasons are not ours; [data.reasons] can say what they mean (docs/data.md)")
        del named["reason"]
    limits = (None, None) if "value" not in named or named.keys() & {"kind", "reason"} else _limits(cells["value"])
    named |= _named([name for name in files.header((items or events)[0]) if items or name not in named.values()], ITEMS)
    renamed = {ours: theirs for ours, theirs in named.items() if ours != theirs}
    return DataConfig("generic", *limits, renamed, {code: kind for code, kind in kinds.items() if code != kind})


def _named(have: Iterable[str], names: Mapping[str, str]) -> dict[str, str]:
    """Our name -> the table's, of the columns that it has."""
    plain = {re.sub(r"[\W_]+", "", name.lower()): name for name in reversed(list(have))}
    found = {ours: [plain[alias] for alias in aliases.split() if alias in plain] for ours, aliases in names.items()}
    return {ours: theirs[0] for ours, theirs in found.items() if theirs}


def _kinds(codes: Sequence[str]) -> dict[str, str]:
    """Code -> kind, `ignore` where none is recognised; nothing where no code is, or there are too many."""
    view = "exposure" if any(re.search(WORDS["click"], code.lower()) for code in codes) else "click"
    words = WORDS | {view: f"view|^pv$|{WORDS[view]}"}
    kinds: dict[str, str] = {}
    for code in codes if len(codes) <= MOST else ():
        fits = (kind for kind, pattern in words.items() if re.search(pattern, code.lower()))
        kinds[code] = code if code in KINDS else next(fits, "")
    if not any(kinds.values()):
        return {}
    if unknown := [code for code, kind in kinds.items() if not kind]:
        say(f"not recognised, and drafted as kinds to be ignored: {files.listing(unknown)}")
    return {code: kind or "ignore" for code, kind in kinds.items()}


def _limits(cells: pa.ChunkedArray) -> tuple[float | None, float | None]:
    """The two thresholds on the values: a third from either end of their scale."""
    values = np.unique(columns.numbers(cells)[0].drop_null().to_numpy())
    if len(values) < 2:
        return None, None
    low, span = values[0], values[-1] - values[0]
    limits = float(values[values <= low + 0.34 * span][-1]), float(values[values >= low + 0.7 * span][0])
    say(f"a guess, on a scale from {low:g} to {values[-1]:g}: {limits[0]:g} is still a dislike, {limits[1]:g} a like")
    return limits
