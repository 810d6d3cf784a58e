"""A ring of fake users, and a seller who copies a title: how much of what others are shown does a night change?

    python -m benchmarks.attack demo --defence age7 --out runs/attack
    python -m benchmarks.attack movietweetings --data DIR --out runs/attack
    python -m benchmarks.attack quality runs/attack/demo-age7 runs/attack/demo-none

The filter alone is fitted and calibrated on the log without its last day. That day then goes through `conrec refresh`,
clean or with an attack in it. Each attack starts from the same version:

    item        everybody in the ring dislikes one item of a competitor, and likes five others, as people do
    category    the same with all items of its category that anybody met lately, at most `MOST`
    copy        a new item with the words of its own, or those of the best liked item: from how many is it hidden?
    smear       a new item with the target's words and category, which the ring dislikes: what becomes of the target?

Counted are real users and items met lately. The clean night is the baseline: `hidden` is the share of the decisions
about the attacked items that it left shown and the attack hides, `shift` how far their scores moved (log-odds),
`flipped` the share of all decisions that are others, `held` whether `--max-change 2` would have held the version.
A copy's `hidden` is the share of users whom it is hidden from, its `shift` that from its own words to the copied ones.

A defence decides from when on an event counts for others (`data.trust`): `age7` is its 7 days, other ages likewise;
`cap3` counts three dislikes of a user and a day; `support5` counts the dislikes of an item from its fifth user on.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import conrec
from conrec.config import load_recipe
from conrec.data.adapters import movietweetings
from conrec.data.instances import Events
from conrec.data.trust import counted_from
from conrec.deploy.change import DAYS, FEWEST, hides_more
from conrec.deploy.refresh import refresh, roll_back
from conrec.evaluate.avoided import dislikes_avoided
from conrec.filter import snapshot as published
from conrec.filter.filter import OpenSnapshot
from conrec.progress import say
from conrec.run import find_recipe
from conrec.score.factors import served_scores
from conrec.simulate import day_table, items_table, make_platform

RINGS = (5, 50, 500)
MOST = 30
"""Items of a category that a ring dislikes, the most met ones."""
USERS = 1000
"""Real users that are looked at, and items likewise."""
DAY = np.timedelta64(1, "D")


def aged(days: int) -> Callable[[Events], np.ndarray]:
    def counted(events: Events) -> np.ndarray:
        with patch("conrec.data.trust.PROBATION", np.timedelta64(days, "D")):
            return counted_from(events)

    return counted


def capped(most: int) -> Callable[[Events], np.ndarray]:
    """Further dislikes of a user on a day count for nobody else."""

    def counted(events: Events) -> np.ndarray:
        at, own = events.times.copy(), np.flatnonzero(events.is_dislike)
        days = events.times[own].astype("datetime64[D]").astype(np.int64)
        order = np.lexsort((own, days, events.numbers[own]))
        key = np.stack([events.numbers[own], days], 1)[order]
        starts = np.flatnonzero(np.append(True, (key[1:] != key[:-1]).any(1)))[: len(order)]
        place = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
        at[own[order[place >= most]]] = np.datetime64("9999-01-01")
        return at

    return counted


def supported(fewest: int) -> Callable[[Events], np.ndarray]:
    """Dislikes of an item count from when so many users disliked it."""

    def counted(events: Events) -> np.ndarray:
        at, own = events.times.copy(), np.flatnonzero(events.is_dislike)
        firsts = own[events.take(own).first_of_item()]
        by_item = firsts[np.argsort(events.items[firsts], kind="stable")]
        items, starts, counts = np.unique(events.items[by_item], return_index=True, return_counts=True)
        since = np.full(1 + int(events.items.max(initial=0)), np.datetime64("9999-01-01"), at.dtype)
        since[items[counts >= fewest]] = events.times[by_item[starts[counts >= fewest] + fewest - 1]]
        at[own] = np.maximum(at[own], since[events.items[own]])
        return at

    return counted


DEFENCES: dict[str, Callable[[Events], np.ndarray]] = {
    "none": lambda events: events.times,
    **{f"age{days}": aged(days) for days in (3, 7, 14)},
    "cap3": capped(3),
    "support5": supported(5),
}


def demo(out: Path, users: int, items: int) -> tuple[conrec.Model, pa.Table, pa.Table]:
    """The model of the demo's platform without its last day; that day's events, and the items listed on it."""
    recipe = load_recipe(find_recipe(Path("demo")))
    config = replace(recipe.simulate, users=users, items=items)
    platform, rng = make_platform(config)
    days = [day_table(day, platform.run_day(day, rng), platform).drop(["value"]) for day in range(config.days)]
    catalogue = items_table(platform.catalogue, [None] * items).select(["item_id", "title", "category"])
    late = pa.array(platform.catalogue.listed >= config.days - 1)
    alone = replace(recipe, data=replace(recipe.data, adapter="generic"), sid=replace(recipe.sid, levels=0))
    log = pa.concat_tables(days[:-1])
    model = conrec.fit(log, catalogue.filter(pc.invert(late)), recipe=alone, folder=out)
    return model, days[-1], catalogue.filter(late)


def movies(out: Path, data: Path) -> tuple[conrec.Model, pa.Table, pa.Table]:
    """The same of MovieTweetings, whose last whole day is the night; no film is listed on it."""
    recipe = load_recipe(find_recipe(Path("movietweetings")))
    recipe = replace(recipe, data=replace(recipe.data, adapter="generic"), sid=replace(recipe.sid, levels=0))
    log = movietweetings.read(data, recipe.data, None)
    last = np.datetime64(pc.max(log.events["time"]).as_py().replace(tzinfo=None), "D") - DAY
    days = log.events["time"].to_numpy().astype("datetime64[D]")
    events = log.events.select(["user_id", "item_id", "time", "value"])
    before = events.filter(pa.array(days < last))
    listed = log.items.filter(pc.is_in(log.items["item_id"], before["item_id"].combine_chunks()))
    known = pc.is_in(events["item_id"], listed["item_id"])
    night = events.filter(pc.and_(pa.array(days == last), known))
    listed = listed.select(["item_id", "title", "category"])
    return conrec.fit(before, listed, recipe=recipe, folder=out), night, listed.slice(0, 0)


class Night:
    """The night after, clean or with an attack in it."""

    def __init__(self, model: conrec.Model, day: pa.Table, new: pa.Table, likes_lost: float, out: Path) -> None:
        self.model, self.day, self.new, self.out = model, day, new, out
        promise = model.calibrate(likes_lost)
        say(f"{promise}")
        assert promise.threshold is not None
        self.snapshots = model.folder / "snapshots"
        refresh(model.folder, model.recipe)
        self.before = self.snapshots / str(published.current(self.snapshots))
        events = pq.read_table(model.folder / "prepare" / "events.parquet", columns=["item_id", "time", "user_id"])
        times = events["time"].to_numpy()
        met = events.filter(pa.array(times >= times.max() - DAYS))["item_id"].value_counts()
        met = sorted(met.to_pylist(), key=lambda one: (-one["counts"], one["values"]))
        self.items = [one["values"] for one in met][:USERS]
        users = np.unique(events["user_id"].to_numpy(zero_copy_only=False).astype(str))
        self.users = np.random.default_rng(0).permutation(users).tolist()
        scores, hidden = self.scores(self.before, self.items)
        clean, left, self.held = self.after(None, None, self.items)
        both = np.isfinite(scores + clean).all(axis=1)
        self.users = np.array(self.users)[both].tolist()[:USERS]
        rows = np.flatnonzero(both)[:USERS]
        self.first, self.clean = (scores[rows], hidden[rows]), (clean[rows], left[rows])

    def scores(self, folder: Path, items: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Scores float64 [u, i] of the users, nan where the version does not know them, and whether each is hidden."""
        now = OpenSnapshot(folder)
        rows, found = now.index.rows(items), np.full((len(self.users), len(items)), np.nan)
        hidden = np.zeros(found.shape, bool)
        for n, user in enumerate(self.users):
            one = now.users.get(user)
            if one is not None and one.has_record:
                found[n] = served_scores(now.factors, one.factors, rows)
                hidden[n] = found[n] > now.thresholds.of(one.activity, rows)
        return found, hidden

    def after(self, fakes: pa.Table | None, item: dict[str, str] | None, items: list[str]) -> tuple:
        """`scores` after a night with these events and this item added, and whether it would have been held."""
        day = self.day if fakes is None else pa.concat_tables([self.day, fakes.select(self.day.column_names)])
        pq.write_table(day.sort_by("time"), self.out / "day.parquet")
        new = (
            self.new
            if item is None
            else pa.concat_tables([self.new, pa.Table.from_pylist([item], schema=self.new.schema)])
        )
        pq.write_table(new, self.out / "new.parquet")
        listed = {"items": self.out / "new.parquet"} if len(new) else {}
        refresh(self.model.folder, self.model.recipe, events=self.out / "day.parquet", keep=100, **listed)
        folder = self.snapshots / str(published.current(self.snapshots))
        users, shown = np.array(self.users[:USERS], str), np.array(self.items, str)
        held = hides_more(self.before, 2.0, True, folder, users, shown)
        found = (*self.scores(folder, items), held)
        roll_back(self.snapshots)
        return found

    def ring(self, size: int, disliked: list[str], seed: int) -> pa.Table:
        """Events of fake users first seen on the day."""
        rng, rows = np.random.default_rng([seed, size]), []
        start = self.day["time"].to_numpy().min()
        for n in range(size):
            liked = rng.choice(self.items[:200], 5, replace=False).tolist()
            for item, no in [
                *((one, True) for one in disliked),
                *((one, False) for one in liked if one not in disliked),
            ]:
                time = (start + np.timedelta64(int(rng.integers(3_600_000)), "ms")).astype("datetime64[us]")
                kind, value = ("dislike", 1.0) if no else ("click", 9.0)
                told = {"user_id": f"fake{n}", "item_id": item, "time": time.item(), "kind": kind}
                rows.append(told | {"reason": None, "value": value})
        names = self.day.column_names
        columns = [pa.array([row[name] for row in rows]).cast(self.day.schema.field(name).type) for name in names]
        return pa.table(columns, schema=self.day.schema)


def attack(night: Night, rings: tuple[int, ...], seeds: int) -> list[dict[str, object]]:
    """All attacks, one row each."""
    (scores, hidden), (clean, left) = night.first, night.clean
    rows: list[dict[str, object]] = []

    def tell(what: str, size: int, of: list[int], after: np.ndarray, now: np.ndarray, held: str | None) -> None:
        was, base = (hidden, scores) if what == "clean" else (left, clean)
        shown = ~was[:, of]
        row = {
            "attack": what,
            "ring": size,
            "hidden": float((now[:, of] & shown).sum() / max(shown.sum(), 1)),
            "shift": float((after - base)[:, of].mean()),
            "flipped": float((now != was).mean()),
            "held": held is not None,
        }
        say(json.dumps(row))
        rows.append(row)

    tell("clean", 0, list(range(len(night.items))), clean, left, night.held)
    categories = _categories(night)
    share = left.mean(axis=0)
    # A competitor's: much met, and hidden from fewer than most are.
    crowded = {name for name, count in Counter(categories[item] for item in night.items).items() if count >= FEWEST}
    fit = [n for n, item in enumerate(night.items) if share[n] <= np.median(share) and categories[item] in crowded]
    targets = fit[:seeds]
    for seed, target in enumerate(targets):
        of = [n for n, item in enumerate(night.items) if categories[item] == categories[night.items[target]]][:MOST]
        for size in rings:
            for what, some in (("item", [target]), ("category", of)):
                fakes = night.ring(size, [night.items[n] for n in some], seed)
                tell(what, size, some, *night.after(fakes, None, night.items))
            item = {"item_id": "copy", **_words(night, night.items[target])}
            smear = night.ring(size, ["copy"], seed)
            tell("smear", size, [target], *night.after(smear, item, night.items))
    hated = np.argsort(-share, kind="stable")[:seeds]
    best = night.items[int(np.argmin(clean.mean(axis=0)))]
    for row in hated.tolist():
        own = _words(night, night.items[row])
        honest, gone, _ = night.after(None, {"item_id": "copy", **own}, ["copy"])
        told = {"item_id": "copy", **own, "title": _words(night, best)["title"]}
        copied, left_out, held = night.after(None, told, ["copy"])
        both = [float(one.mean()) for one in (gone, left_out)]
        row_of = {"attack": "copy", "ring": 0, "honest": both[0], "hidden": both[1]}
        rows.append(row_of | {"shift": float((copied - honest).mean()), "flipped": 0.0, "held": held is not None})
        say(json.dumps(rows[-1]))
    return rows


def _categories(night: Night) -> dict[str, str]:
    items = pq.read_table(night.model.folder / "prepare" / "items.parquet", columns=["item_id", "category"]).to_pylist()
    return {one["item_id"]: one["category"] for one in items}


def _words(night: Night, item: str) -> dict[str, str]:
    table = pq.read_table(night.model.folder / "prepare" / "items.parquet", columns=["item_id", "title", "category"])
    found = table.filter(pc.equal(table["item_id"], item)).to_pylist()[0]
    return {"title": found["title"], "category": found["category"]}


def quality(ours: Path, other: Path) -> None:
    """Dislikes avoided at budgets of likes lost, paired on the exposures of validation and of test."""
    tables = [pq.read_table(run / "run/filter/seed0/scores.parquet") for run in (ours, other)]
    for part in ("validation", "test"):
        a, b = (
            table.filter(pc.and_(pc.equal(table["split"], part), pc.not_equal(table["label"], 0))) for table in tables
        )
        assert a.select(["user_id", "label"]).equals(b.select(["user_id", "label"]))
        users = a["user_id"].to_numpy(zero_copy_only=False).astype(str)
        scores = {"ours": [a["conrec"].to_numpy()], "other": [b["conrec"].to_numpy()]}
        found = dislikes_avoided(users, a["label"].to_numpy() > 0, scores)
        assert found is not None
        for budget, one in found.difference("ours", "other").items():
            was, (low, high) = found.of("other")[budget].mean, one.ci95
            print(f"{part} {budget}: {was:.3f}, {one.difference:+.4f} ({low:+.4f} to {high:+.4f}), {one.verdict}")


def markdown(rows: list[dict[str, object]]) -> str:
    """The table: means over the targets."""
    lines = ["| attack | ring | hidden | shift | flipped | held |", "|---|---|---|---|---|---|"]
    for what, size in dict.fromkeys((row["attack"], row["ring"]) for row in rows):
        some = [row for row in rows if (row["attack"], row["ring"]) == (what, size)]
        hidden, shift, flipped, held = (
            np.mean([row[name] for row in some]) for name in ("hidden", "shift", "flipped", "held")
        )
        told = f"{what}, {np.mean([row['honest'] for row in some]):.1%} with its own words" if what == "copy" else what
        lines.append(f"| {told} | {size} | {hidden:.1%} | {shift:+.2f} | {flipped:.2%} | {held:.0%} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m benchmarks.attack", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("what", choices=["demo", "movietweetings", "quality"])
    parser.add_argument("runs", type=Path, nargs="*", help="for quality: two folders, ours and the other")
    parser.add_argument("--defence", choices=list(DEFENCES), default="age7")
    parser.add_argument("--data", type=Path, default=Path("data/movietweetings"))
    parser.add_argument("--out", type=Path, default=Path("runs/attack"))
    parser.add_argument("--users", type=int, default=1500)
    parser.add_argument("--items", type=int, default=800)
    parser.add_argument("--likes-lost", type=float, default=0.02)
    parser.add_argument("--targets", type=int, default=2)
    parser.add_argument("--rings", type=int, nargs="*", default=RINGS)
    options = parser.parse_args()
    if options.what == "quality":
        quality(*options.runs)
    else:
        out = options.out / f"{options.what}-{options.defence}"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        told = DEFENCES[options.defence]
        with (
            patch("conrec.features.log_view.counted_from", told),
            patch("conrec.features.attribute_rates.counted_from", told),
        ):
            if options.what == "demo":
                made = demo(out / "run", options.users, options.items)
            else:
                made = movies(out / "run", options.data)
            found = attack(Night(*made, options.likes_lost, out), tuple(options.rings), options.targets)
        (out / "attack.json").write_text(json.dumps(found))
        print(markdown(found))
