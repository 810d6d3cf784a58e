"""From a run's replay scores to calibration.json, and what the verb says."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conrec.__main__ import main
from conrec.config import Recipe
from conrec.deploy.calibrate import activity, calibrate, describe
from conrec.deploy.served import calibrations
from conrec.errors import ConrecError
from conrec.evaluate.results import Calibration, read
from conrec.run import run_stages
from tests.data.events import events_of

UTC = pa.timestamp("us", tz="UTC")
CUTS = {"validation": np.datetime64("2026-02-01", "us"), "test": np.datetime64("2026-03-01", "us")}


RECIPE = Recipe()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Uniform scores of likes, dislikes a little higher; 600 users in validation, 500 in test, five likes each."""
    return make_run(tmp_path / "run", users=600)


def make_run(folder: Path, users: int, shift: float = 0.0) -> Path:
    """A run folder with what `calibrate` reads; `shift` is what the scores of likes drift by until test."""
    run_stages((), RECIPE, folder, None, None, begin=True)
    rng = np.random.default_rng(0)
    tables = []
    for split, count, drift in (("validation", users, 0.0), ("test", users - 100, shift)):
        owner = np.repeat(np.arange(count), 10)
        labels = np.tile([-1, -1, -1, -1, -1, 0, 0, 0, 1, 1], count)
        scores = rng.random(len(owner)) + np.where(labels == 1, 0.3, np.where(labels == -1, drift, 0))
        tables.append(
            pa.table(
                {
                    "split": [split] * len(owner),
                    "user_id": [f"u{n}" for n in owner],
                    "cutoff": pa.array(np.full(len(owner), CUTS[split])).cast(UTC),
                    "item_id": [f"i{n % 3}" for n in range(len(owner))],
                    "label": pa.array(labels, pa.int8()),
                    "conrec": pa.array(scores, pa.float32()),
                }
            )
        )
    (folder / "filter" / "seed0").mkdir(parents=True)
    (folder / "prepare").mkdir()
    pq.write_table(pa.concat_tables(tables), folder / "filter" / "seed0" / "scores.parquet")
    items = {
        "item_id": [f"i{n}" for n in range(9)],
        "title": [f"title {n}" for n in range(9)],
        "category": pa.array(["x", "y", None, *["z"] * 6], pa.string()),
        "first_seen": pa.array([None] * 9, UTC),
    }
    pq.write_table(pa.table(items), folder / "prepare" / "items.parquet")
    # User n has n % 9 dislikes in the past.
    past = [(n, k) for n in range(users) for k in range(n % 9)]
    events = {
        "user_id": [f"u{n}" for n, _ in past],
        "item_id": [f"i{k}" for _, k in past],
        "time": pa.array([np.datetime64("2026-01-01", "us")] * len(past)).cast(UTC),
        "kind": ["dislike"] * len(past),
        "value": pa.array([None] * len(past), pa.float64()),
        "reason": pa.nulls(len(past), pa.string()),
    }
    pq.write_table(pa.table(events), folder / "prepare" / "events.parquet")
    return folder


def test_the_file_says_what_the_filter_and_the_operator_need(run: Path) -> None:
    result = calibrate(run, RECIPE, likes_lost=0.05)
    assert read(run / "calibration.json", Calibration) == result
    assert not list(run.glob("*.new"))
    # The score of a like is uniform: the threshold stands somewhat above the true 95 % quantile.
    assert 0.95 < result.threshold < 0.97
    assert result.refused is None
    assert result.segments is None
    assert (result.likes_lost, result.confidence) == (0.05, 0.95)
    evidence = result.evidence
    assert evidence.verdict == "kept on test"
    for split, users in (("validation", 600), ("test", 500)):
        happened = getattr(evidence, split)
        assert (happened.users, happened.likes, happened.dislikes) == (users, 5 * users, 2 * users)
        low, high = happened.likes_lost_by_users.ci95
        assert low < 1 - result.threshold < high
        low, high = happened.dislikes_avoided.ci95
        assert low < 1.3 - result.threshold < high
    assert [one.likes_lost for one in evidence.budgets] == [0.005, 0.01, 0.02, 0.05, 0.1]
    thresholds = [one.threshold for one in evidence.budgets]
    assert thresholds[0] is None  # 604 users would be needed
    assert thresholds[1:] == sorted(thresholds[1:], reverse=True)
    assert "kept on test" in describe(result)


def test_a_surface_has_a_calibration_of_its_own_beside_the_others(run: Path) -> None:
    assert calibrations(run, 0) is None
    home = calibrate(run, RECIPE, likes_lost=0.1, surface="home")
    assert not (run / "calibration.json").exists()
    assert calibrations(run, 0) == {"threshold": None, "surfaces": {"home": msgspec.to_builtins(home)}}
    result = calibrate(run, RECIPE, likes_lost=0.05)
    feed = calibrate(run, RECIPE, likes_lost=0.1, by="category", surface="feed")
    assert read(run / "calibration.home.json", Calibration) == home
    assert home.threshold < result.threshold
    held = calibrations(run, 0)
    assert held is not None
    assert held.pop("surfaces") == {"feed": msgspec.to_builtins(feed), "home": msgspec.to_builtins(home)}
    assert held == msgspec.to_builtins(result)
    old = (run / "calibration.home.json").read_text().replace(home.evidence.scores, "0" * 64)
    (run / "calibration.home.json").write_text(old)
    with pytest.raises(ConrecError, match=r"calibration\.home\.json: made from other scores"):
        calibrations(run, 0)


def test_a_second_promise(run: Path) -> None:
    """A fifth is unwanted without a filter; at a threshold t above 0.3 it is (2 t - 0.6) of 10 t - 0.6 kept."""
    assert main(["calibrate", str(run), "--likes-lost", "0.3", "--unwanted", "0.18"]) == 0
    both = read(run / "calibration.json", Calibration)
    assert (both.refused, both.unwanted) == (None, 0.18)
    assert 0.7 < both.threshold < 0.81  # where uniform likes lose 0.3, the margin, and to the next of the grid
    for split in ("validation", "test"):
        low, high = getattr(both.evidence, split).unwanted.ci95
        assert low < (2 * both.threshold - 0.6) / (10 * both.threshold - 0.6) < high < 0.18
    assert (both.evidence.verdict, both.evidence.unwanted_verdict) == ("kept on test", "kept on test")
    assert "at most 18.00% of what is left to a user unwanted" in describe(both)
    # What cannot be had together is refused with both ends, what takes more users with their number.
    refused = calibrate(run, RECIPE, likes_lost=0.05, unwanted=0.12)
    assert refused.threshold is None
    assert "no threshold keeps both promises. At most 5.00% of the likes lost asks for 0.9" in refused.refused
    assert refused.evidence.unwanted_verdict is None
    assert "it takes 744 users" in calibrate(run, RECIPE, likes_lost=0.3, unwanted=0.005).refused
    for more in ({"confidence": None}, {"by": "category"}):
        with pytest.raises(ConrecError, match="leave out --on-average and --by"):
            calibrate(run, RECIPE, unwanted=0.2, **more)
    with pytest.raises(ConrecError, match="--unwanted 5"):
        calibrate(run, RECIPE, unwanted=5.0)


def test_the_same_scores_give_the_same_calibration(run: Path) -> None:
    assert calibrate(run, RECIPE, by="category") == calibrate(run, RECIPE, by="category")


def test_a_drift_is_said_plainly(tmp_path: Path) -> None:
    result = calibrate(make_run(tmp_path / "run", 600, shift=0.1), RECIPE, likes_lost=0.05)
    assert result.evidence.verdict.startswith("NOT KEPT on test")
    assert result.evidence.test.likes_lost_by_users.mean > 0.1


def test_too_little_data_is_refused_in_one_sentence(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 150)
    result = calibrate(run, RECIPE, likes_lost=0.01)
    assert result.threshold is None
    assert result.evidence.verdict is None
    assert "302 users with a like (some 1,510 likes)" in result.refused
    assert "hold 150 users with 750 likes" in result.refused
    assert result.evidence.test.dropped == 0
    assert result.refused in describe(result)
    bold = calibrate(run, RECIPE, likes_lost=0.01, confidence=None)
    assert bold.threshold is not None
    assert bold.confidence is None


def test_categories_have_thresholds_of_their_own_and_those_without_data_have_none(run: Path) -> None:
    result = calibrate(run, RECIPE, likes_lost=0.05, by="category")
    thresholds = result.segments.thresholds
    assert thresholds.keys() == {"x", "y", ""}
    assert all(0.95 < value < 1 for value in thresholds.values())
    assert len(set(thresholds.values())) == 3
    small = calibrate(run, RECIPE, likes_lost=0.005, by="category")
    assert set(small.segments.thresholds.values()) == {None}
    assert small.evidence.segments.test.dropped == 0
    assert "nothing dropped for want of data" in describe(small)


def test_users_of_different_activity_have_thresholds_of_their_own(run: Path) -> None:
    result = calibrate(run, RECIPE, likes_lost=0.1, by="activity")
    assert result.segments.thresholds.keys() == {"low", "middle", "high"}
    assert result.segments.edges == [2.0, 5.0]
    each = result.evidence.segments.each
    assert sum(one.units for one in each.values()) == 600
    assert all(one.threshold is not None for one in result.evidence.budgets[2:])


def test_activity_counts_the_items_disliked_and_liked_before_the_cut() -> None:
    days = np.array([f"2026-01-0{n}" for n in (1, 2, 3, 4, 5)], "datetime64[us]")
    kinds = np.array(["dislike", "exposure", "click", "dislike", "click"])
    rows = np.array([0, 1, 0, 1, 0], np.int32)
    events = events_of(np.array(["a", "a", "b", "a", "b"]), rows, days, kinds, np.full(5, np.nan))
    users = np.array(["a", "b", "a", "b", "c"])
    cutoffs = np.array(["2026-01-04", "2026-01-04", "2026-01-05", "2026-01-06", "2026-01-05"], "datetime64[us]")
    assert activity(events, users, cutoffs).tolist() == [1, 1, 2, 1, 0]


def test_the_verb(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", str(run), "--likes-lost", "0.05", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((run / "calibration.json").read_text())
    assert main(["calibrate", str(run), "--likes-lost", "0.05", "--on-average", "--by", "category"]) == 0
    assert "on average" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--likes-lost", "1.5"], "--likes-lost 1.5"),
        (["--confidence", "1"], "--confidence 1.0"),
        (["--surface", "a/b"], "--surface 'a/b'"),
        (["--unwanted", "0"], "--unwanted 0.0"),
        (["--seed", "4"], "bring the run as far as filter first"),
    ],
)
def test_mistakes_are_one_line(run: Path, capsys: pytest.CaptureFixture[str], words: list[str], part: str) -> None:
    assert main(["calibrate", str(run), *words]) == 2
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1


def test_scores_that_cannot_be_read_are_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "filter" / "seed0" / "scores.parquet"
    path.write_bytes(b"no parquet")
    assert main(["calibrate", str(run)]) == 2
    assert str(path) in capsys.readouterr().err
