"""What a run serves: the score that its filter was replayed with, or one line that says why there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conrec.deploy.served import served_score
from conrec.errors import ConrecError
from tests.features.log_view_for_tests import small_log_view
from tests.score.test_history import fitted


def test_it_is_the_run_s_own_score(tmp_path: Path) -> None:
    filtered, scored = tmp_path / "filter" / "seed3", tmp_path / "score" / "seed3"
    filtered.mkdir(parents=True)
    scored.mkdir(parents=True)
    history = fitted(small_log_view())
    history.save(scored)
    (filtered / "replay.json").write_text("{}")
    for name, array in served_score(tmp_path, 3).state().items():
        np.testing.assert_array_equal(array, history.state()[name])


@pytest.mark.parametrize(
    ("replayed", "message"),
    [
        (False, "no replay there; bring the run as far as filter first, or take a longer log"),
        (True, "history.safetensors: not readable .* run the score stage again"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, replayed: bool, message: str) -> None:
    folder = tmp_path / "filter" / "seed0"
    folder.mkdir(parents=True)
    if replayed:
        (folder / "replay.json").write_text("{}")
    with pytest.raises(ConrecError, match=message) as error:
        served_score(tmp_path, 0)
    assert "\n" not in str(error.value)
