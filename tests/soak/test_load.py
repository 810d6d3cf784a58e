"""The quick form of the hour of mixed load."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.soak.load import Told, soak


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says what a process uses")
def test_a_few_seconds_of_mixed_load(tmp_path: Path) -> None:
    told = soak(tmp_path / "work", seconds=8, night=2, clients=2, seed=1, leeway=100)
    assert not told.wrong, str(told)
    assert told.nights >= 1
    assert told.requests["filter"] > 0
    assert "nothing failed" in str(told)


def test_what_grows_is_named() -> None:
    flat = Told(memory=[100.0] * 40, files=[20] * 40)
    flat.judge()
    assert flat.wrong == []
    leaking = Told(memory=[100.0 + n for n in range(40)], files=[20 + n for n in range(40)])
    leaking.judge()
    assert [line.split()[0] for line in leaking.wrong] == ["memory", "descriptors"]
