"""The served form is the score, and a run's own score is the one that its filter stage used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conrec.data.exposures import Replay
from conrec.errors import ConrecError
from conrec.features.log_view import LogView
from conrec.score.factors import ItemFactors, UserFactors, score
from conrec.score.filter_score import FilterScore, run_score, score_name
from conrec.score.history import HistoryScore
from conrec.score.similarity import max_cosine_batch
from tests.features.log_view_for_tests import cut_short, replay_of, small_log_view
from tests.score.test_history import fitted
from tests.small_log import CUTS


@pytest.fixture(scope="module")
def log_view() -> LogView:
    return small_log_view()


@pytest.fixture(scope="module")
def history(log_view: LogView) -> HistoryScore:
    return fitted(log_view)


def predictions(replay: Replay, seed: int = 0) -> np.ndarray:
    """int32 [B, 4]: some are shorter, some empty."""
    rng = np.random.default_rng(seed)
    lists = np.stack([rng.permutation(40)[:4] for _ in range(len(replay))]).astype(np.int32)
    lists[np.arange(4) >= rng.integers(0, 5, len(lists))[:, None]] = -1
    return lists


def served(score_: FilterScore, log_view: LogView, replay: Replay, lists: np.ndarray) -> np.ndarray:
    """Everything shown, scored as the service does it, user by user."""
    days = {cutoff: score_.at(log_view, cutoff) for cutoff in np.unique(replay.instances.cutoffs)}
    sides: dict[np.datetime64, ItemFactors] = {cutoff: day.item_factors() for cutoff, day in days.items()}
    result = []
    for n, cutoff in enumerate(replay.instances.cutoffs):
        ((vector,), (bias,)) = days[cutoff].user_factors(replay.instances.take(np.array([n])))
        user = UserFactors(lists[n][lists[n] >= 0], vector, float(bias))
        result.append(score(sides[cutoff], user, replay.shown[n], score_.cosine_weight)[0])
    return np.concatenate(result)


def test_the_served_form_is_the_history_score(log_view: LogView, history: HistoryScore) -> None:
    replay = replay_of(log_view, CUTS[1:])
    offline = history.replay_scores(log_view, replay)
    found = served(FilterScore(history), log_view, replay, predictions(replay))
    np.testing.assert_allclose(found, offline, atol=1e-5)


def test_the_papers_score_is_the_cosine(log_view: LogView) -> None:
    replay = replay_of(log_view, CUTS[1:2])
    lists, rows = predictions(replay), replay.shown.padded()
    cosine = max_cosine_batch(log_view.catalog.unit, rows, lists)[rows != -1]
    np.testing.assert_allclose(served(FilterScore(), log_view, replay, lists), cosine, atol=1e-6)


def test_the_future_is_not_in_it(log_view: LogView, history: HistoryScore) -> None:
    replay = replay_of(log_view, CUTS[1:2])
    lists = predictions(replay)
    short = cut_short(log_view, CUTS[1])
    whole = served(FilterScore(history), log_view, replay, lists)
    np.testing.assert_allclose(served(FilterScore(history), short, replay, lists), whole, atol=1e-6)


def test_the_score_of_a_run_is_the_one_its_filter_used(
    log_view: LogView, history: HistoryScore, tmp_path: Path
) -> None:
    filtered, scored = tmp_path / "filter" / "seed3", tmp_path / "score" / "seed3"
    filtered.mkdir(parents=True)
    scored.mkdir(parents=True)
    history.save(scored)
    (filtered / "replay.json").write_text('{"score": "history"}')
    again = run_score(tmp_path, 3)
    assert (again.name, again.cosine_weight) == ("history", 0)
    replay = replay_of(log_view, CUTS[1:2])
    lists = predictions(replay)
    np.testing.assert_array_equal(
        served(again, log_view, replay, lists), served(FilterScore(history), log_view, replay, lists)
    )
    (filtered / "replay.json").write_text('{"score": "paper"}')
    assert (run_score(tmp_path, 3).name, run_score(tmp_path, 3).cosine_weight) == ("paper", 1)


def test_to_load_and_serve_it_nothing_of_training_is_imported() -> None:
    training = ("torch", "transformers", "sklearn")
    code = f"import sys, conrec.score.filter_score; print(*sorted(set({training!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "bring the run as far as filter first"),
        ("{", "not readable .* run the filter stage again"),
        ("[]", "not readable .* run the filter stage again"),
        ('{"score": "default"}', "names no score .* run the filter stage again"),
        ('{"score": "history"}', "history.safetensors: not readable .* run the score stage again"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, text: str | None, message: str) -> None:
    folder = tmp_path / "filter" / "seed0"
    if text is not None:
        folder.mkdir(parents=True)
        (folder / "replay.json").write_text(text)
    with pytest.raises(ConrecError, match=message) as error:
        run_score(tmp_path, 0)
    assert "\n" not in str(error.value)
    if text != '{"score": "history"}':
        with pytest.raises(ConrecError, match=message):
            score_name(folder)
