"""The instances against the protocol written down once more, naively."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from conrec.config import SplitConfig
from conrec.data.clean import clean
from conrec.data.instances import as_events, as_items, instances_table
from conrec.data.knowledge import Knowledge
from conrec.data.schema import POSITIVE_KINDS
from conrec.data.split import SPLITS, TimeSplit, UserSplit, describe_split, plan_split
from conrec.data.windows import make_instances
from conrec.errors import ConrecError
from tests.data.events import START, event_table, item_table, make_log

DAY = timedelta(days=1)
ITEMS = as_items(item_table(*"abcdef", *(f"{sign}{day}" for sign in "dp" for day in range(40))))
ITEMS = replace(ITEMS, first_seen=np.full(len(ITEMS), np.datetime64("2025-12-01", "us")))
HALF = SplitConfig(validation_from=0.4, test_from=0.7, horizon_days=2, max_dislikes=2, max_positives=2)
FOLD = SplitConfig(mode="users", cutoffs="per_user", horizon_days=2, max_dislikes=3, max_positives=3)

Row = dict[str, Any]


def midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def quantile(times: list[datetime], q: float) -> datetime:
    return START + timedelta(
        microseconds=float(np.quantile([(t - START) / timedelta(microseconds=1) for t in times], q))
    )


def naive(events: list[Row], config: SplitConfig, users: dict[str, list[str]] | None) -> list[Row]:
    """Every instance of the protocol, by loops."""
    events = sorted(events, key=lambda e: (e["time"], e["item_id"]))
    dislikes = [e for e in events if e["kind"] == "dislike"]
    horizon = config.horizon_days * DAY
    moments: list[tuple[str, str, datetime, str | None]] = []
    if users is None:
        validation = midnight(quantile([e["time"] for e in dislikes], config.validation_from))
        test = midnight(quantile([e["time"] for e in dislikes], config.test_from))
        for e in dislikes:
            if e["time"] + horizon <= validation:
                moments.append(("train", e["user_id"], e["time"], e["item_id"]))
        everybody = sorted({e["user_id"] for e in events})
        cutoff = validation
        while cutoff + horizon <= test:
            moments += [("validation", user, cutoff, None) for user in everybody]
            cutoff += horizon
        cutoff = test
        while cutoff <= events[-1]["time"]:
            moments += [("test", user, cutoff, None) for user in everybody]
            cutoff += horizon
    else:
        for e in dislikes:
            if e["user_id"] in users["train"]:
                moments.append(("train", e["user_id"], e["time"], e["item_id"]))
        for split in ("validation", "test"):
            for user in users[split]:
                own = [e for e in dislikes if e["user_id"] == user]
                if len(own) >= 2:
                    moments.append((split, user, own[len(own) // 2]["time"], None))
    instances = []
    for split, user, cutoff, true in moments:
        own = [e for e in events if e["user_id"] == user]
        future = [e["item_id"] for e in own if e["kind"] == "dislike" and cutoff <= e["time"] < cutoff + horizon]
        liked = [e["item_id"] for e in own if e["kind"] in POSITIVE_KINDS and cutoff <= e["time"] < cutoff + horizon]
        past = [e for e in own if e["time"] < cutoff]
        old = [(e["item_id"], e["time"]) for e in past if e["kind"] == "dislike"]
        good: dict[str, datetime] = {}
        seen: dict[str, datetime] = {}
        for e in past:
            if e["kind"] in POSITIVE_KINDS:
                good.setdefault(e["item_id"], e["time"])
            if e["kind"] in ("dislike", "purchase") or e["value"] is not None:
                seen.setdefault(e["item_id"], e["time"])
        if not future or not (old or good):
            continue
        positives = list(good.items())
        instances.append(
            {
                "split": split,
                "user_id": user,
                "cutoff": cutoff,
                "n_dislikes": len(old),
                "n_positives": len(good),
                "dislikes": [i for i, _ in old][-config.max_dislikes :],
                "dislike_times": [t for _, t in old][-config.max_dislikes :],
                "positives": [i for i, _ in positives][-config.max_positives :],
                "positive_times": [t for _, t in positives][-config.max_positives :],
                "seen": list(seen) if split != "train" else [],
                "next": true or future[0],
                "future": future,
                "future_positives": list(dict.fromkeys(liked)),
            }
        )
    order = ("train", "validation", "test")
    return sorted(instances, key=lambda r: (order.index(r["split"]), r["cutoff"], r["user_id"], r["next"]))


def logs(users: str) -> st.SearchStrategy[list[tuple]]:
    kinds = ("dislike", "dislike", "click", "purchase", "exposure")
    row = st.tuples(
        st.sampled_from(users),
        st.sampled_from("abcdef"),
        st.integers(0, 20 * 4).map(lambda n: n * 6),
        st.sampled_from(kinds),
        st.none(),
        st.sampled_from([None, 3.0]),
    )
    return st.lists(row, min_size=40, max_size=120)


def made(events: pa.Table, config: SplitConfig, names: Sequence[str] = SPLITS) -> tuple[pa.Table, dict[str, int]]:
    """The table of the instances, and the account of those that are left out."""
    log = as_events(events, ITEMS)
    instances, dropped = make_instances(log, ITEMS, plan_split(log, config), config, names)
    return instances_table(instances, ITEMS), dropped


def compare(rows: list[tuple], config: SplitConfig) -> None:
    events = clean(make_log(*rows)).events
    assume("dislike" in events["kind"].to_pylist())
    split = plan_split(as_events(events, ITEMS), config)
    users = {name: getattr(split, f"{name}_users") for name in SPLITS} if isinstance(split, UserSplit) else None
    expected = naive(events.to_pylist(), config, users)
    if len({row["split"] for row in expected}) < 3:
        with pytest.raises(ConrecError, match="too little data"):
            made(events, config)
        return
    got = made(events, config)[0].to_pylist()
    assert [row.pop("instance_id") for row in got] == list(range(len(got)))
    assert got == expected


@settings(max_examples=30, deadline=None)
@given(logs("uvwxyz"))
def test_rolling_cuts_agree_with_loops(rows: list[tuple]) -> None:
    compare(rows, HALF)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(logs("abcdefghijklmnopqrst"), st.integers(0, 4))
def test_one_cut_a_user_agrees_with_loops(rows: list[tuple], fold: int) -> None:
    compare(rows, replace(FOLD, fold=fold))


def steady_log(users: int = 8, days: int = 40) -> list[tuple]:
    """Everybody dislikes one item every other day, at noon, and clicks on one a day later."""
    rows: list[tuple] = []
    for user in range(users):
        for day in range(user % 2, days, 2):
            rows.append((f"u{user:02d}", f"d{day}", 24 * day + 12, "dislike"))
            rows.append((f"u{user:02d}", f"p{day}", 24 * day + 36, "click"))
    return rows


def test_nothing_that_trains_or_tunes_sees_the_next_period() -> None:
    events = event_table(*steady_log())
    config = SplitConfig(horizon_days=3)
    split = plan_split(as_events(events, ITEMS), config)
    table, dropped = made(events, config)
    rows = table.to_pylist()
    assert isinstance(split, TimeSplit)
    for row in rows:
        end = np.datetime64((row["cutoff"] + 3 * DAY).replace(tzinfo=None))
        if row["split"] == "train":
            assert end <= split.validation_start
        if row["split"] == "validation":
            assert end <= split.test_start
        assert all(time < row["cutoff"] for time in row["dislike_times"] + row["positive_times"])
    assert dropped["train_embargo"] > 0
    description = describe_split(split, config, Counter(table["split"].to_pylist()), dropped)
    assert description["validation_start"].endswith("T00:00:00.000000Z")
    assert sum(description["counts"].values()) == len(rows)


@pytest.mark.parametrize("config", [SplitConfig(horizon_days=3), replace(FOLD, horizon_days=3)])
def test_windows_cut_in_parts_are_the_same(config: SplitConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    events = event_table(*steady_log(users=23))
    whole, dropped = made(events, config)
    monkeypatch.setattr("conrec.data.windows.AT_ONCE", 7)
    parts, dropped_of_parts = made(events, config)
    assert len(whole) > 20
    assert parts.equals(whole)
    assert dropped_of_parts == dropped


def test_over_the_five_folds_everybody_is_held_out_once() -> None:
    events = event_table(*steady_log(users=43))
    held_out: list[str] = []
    for fold in range(5):
        split = plan_split(as_events(events, ITEMS), replace(FOLD, fold=fold))
        assert isinstance(split, UserSplit)
        assert len(split.train_users) + len(split.validation_users) + len(split.test_users) == 43
        held_out += [*split.validation_users.tolist(), *split.test_users.tolist()]
    assert sorted(held_out) == [f"u{n:02d}" for n in range(43)]


@pytest.mark.parametrize(
    ("rows", "config", "complaint"),
    [
        ([("u", "a", 0, "click")], SplitConfig(), "no dislikes after cleaning"),
        (steady_log(), SplitConfig(cutoffs="per_user"), "needs split.mode"),
        (steady_log(), SplitConfig(mode="users"), "needs split.cutoffs"),
        (steady_log(), SplitConfig(validation_from=0.9), "0 < validation_from < test_from < 1"),
        (steady_log(), SplitConfig(horizon_days=30), "no train instance is left with a whole horizon of 30 days"),
        (steady_log(), SplitConfig(horizon_days=7), "no validation instance is left with a whole horizon of 7 days"),
        (steady_log(users=3), replace(FOLD, fold=1), "no validation instance is left in fold 1"),
    ],
)
def test_too_little_data_and_contradictions_are_one_clear_line(
    rows: list[tuple], config: SplitConfig, complaint: str
) -> None:
    events = event_table(*rows)
    with pytest.raises(ConrecError, match=complaint) as error:
        made(events, config)
    assert "\n" not in str(error.value)


def test_training_alone_needs_no_held_out_window() -> None:
    events = event_table(*steady_log())
    whole, _ = made(events, SplitConfig(horizon_days=2))
    train, _ = made(events, SplitConfig(horizon_days=2), names=["train"])
    assert train.equals(whole.filter(pc.equal(whole["split"], "train")))
    with pytest.raises(ConrecError, match="no validation instance is left"):
        made(events, SplitConfig(horizon_days=7))
    assert len(made(events, SplitConfig(horizon_days=7), names=["train"])[0])


def test_a_log_of_newcomers_has_nobody_to_test_on() -> None:
    rows = steady_log(users=4)
    rows = [row for row in rows if row[2] < 24 * 30] + [(f"new{n}", "d0", 24 * 39 + 1, "dislike") for n in range(40)]
    events = event_table(*rows)
    config = SplitConfig(horizon_days=2, validation_from=0.2, test_from=0.7)
    with pytest.raises(ConrecError, match="no test instance is left: nobody with a history has a dislike after 2026"):
        made(events, config)


def test_who_stands_alone_at_the_beginning_is_not_asked_before_anything_was_seen() -> None:
    first = [("pioneer", f"d{n}", n, "dislike") for n in range(6)]
    rows = first + [(f"u{user}", f"d{day}", 24 * day, "dislike") for user in range(29) for day in (user, 30, 35)]
    events = event_table(*rows)
    seen = np.array([np.datetime64(START.replace(tzinfo=None), "us")] * len(ITEMS))
    log = as_events(events, ITEMS)
    folds = [replace(FOLD, fold=fold) for fold in range(5)]
    config = next(one for one in folds if "pioneer" not in plan_split(log, one).train_users)
    split = plan_split(log, config)
    open_before, nothing = make_instances(log, ITEMS, split, config)
    assert "empty_pool" not in nothing
    assert "pioneer" in open_before.users
    instances, dropped = make_instances(log, replace(ITEMS, first_seen=seen), split, config)
    left_out = [n for n, (user, at) in enumerate(zip(open_before.users, open_before.cutoffs)) if at < seen[0] + DAY]
    left_out = [n for n in left_out if open_before.split[n] != "train"]
    assert dropped["empty_pool"] == len(left_out) > 0
    assert "pioneer" not in instances.users
    assert len(instances) == len(open_before) - len(left_out)
    knowledge, held_out = Knowledge(replace(ITEMS, first_seen=seen), log), instances.take(instances.split != "train")
    for midnight in np.unique(held_out.cutoffs.astype("datetime64[D]")).astype("datetime64[us]"):
        assert knowledge.prior(midnight, 30, 0.1).any()
    assert describe_split(split, config, {}, dropped)["dropped"]["empty_pool"] == len(left_out)


def test_start_is_midnight() -> None:
    """What the hand-made logs rely on."""
    assert datetime(2026, 1, 1, tzinfo=UTC) == START == midnight(START)
