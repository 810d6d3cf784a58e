"""Numbers and names as the report writes them."""

from collections.abc import Callable
from typing import Any

from conrec.evaluate.protocol import OURS
from conrec.evaluate.results import Interval


def label(system: str) -> str:
    return "CoNRec" if system == OURS else words(system)


def words(name: str) -> str:
    return name.replace("_", " ")


def stage_label(name: str) -> str:
    """A training stage's name for people: "stage 2" for the folder `stage2`."""
    return "warm-up" if name == "warmup" else name.replace("stage", "stage ", 1)


def percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}\u202f%"


def points(value: float | None) -> str:
    """A difference of shares in percentage points, with its sign."""
    return "–" if value is None else f"{100 * value:+.1f}".replace("-", "−")


def count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}".replace(",", "\u202f")


def number(value: Any) -> str:
    """Any value of a JSON file: counts as counts, shares with three digits, larger measures with one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "–" if value is None else str(value)
    if isinstance(value, int):
        return count(value)
    return f"{value:.{3 if abs(value) < 10 else 1}f}".replace("-", "−")


def between(interval: Interval, form: Callable[[float | None], str] = percent) -> str:
    """(low to high), or nothing without an interval."""
    low, high = interval
    return "" if low is None else f"({form(low)} to {form(high)})"
