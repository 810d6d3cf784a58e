"""An A/B inside the simulated platform: the filter behind the recommender for the last weeks, beside its own replay.

    python -m benchmarks.ab --seeds 0 1 2 --out runs/ab

The demo's platform runs up to the last `DAYS` days. `conrec.fit` learns from its log and its catalogue (titles,
pictures, categories), `calibrate` promises a budget of lost likes, and all arms go on from the same midnight, with the
same users and the same draws. On a day the recommender ranks `SEND` times as many candidates as a user is shown, n.

    unfiltered     the first n candidates
    filtered       the first n that the filter keeps of all candidates (`want = n`)
    removal        what the filter keeps of the first n
    replacement    the same, filled up to n by what the user liked before or by the least disliked (`replace = true`)

Every night an arm's day goes through `conrec refresh`. What users do depends on what they are shown, and so does what
the recommender ranks on the next day.

Differences are paired by user; intervals are over users. Beside them stands what the log before had promised: the
replay for `removal`, and for `filtered` an estimate by inverse propensity: of a user's n exposures the filter keeps k,
so each of these stands for n / k, clipped at `CLIP`.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import conrec
from conrec.config import load_recipe
from conrec.data.exposures import DISLIKED, LIKED
from conrec.deploy.refresh import refresh
from conrec.errors import ConrecError
from conrec.evaluate.bootstrap import LEVEL
from conrec.filter.filter import CoNRecFilter
from conrec.progress import say
from conrec.run import find_recipe
from conrec.simulate import day_table, draw_pictures, items_table, make_platform
from conrec.simulate.platform import Platform, Shown

DAYS = 14
SEND, CLIP = 1.5, 5.0
UNFILTERED, FILTERED, REMOVAL, FILLED = ARMS = ("unfiltered", "filtered", "removal", "replacement")
COUNTED = ("shown", "dislikes", "clicks", "favourites and purchases")


class Shop:
    """One arm: the platform from a midnight on, and what is counted of each user."""

    def __init__(self, arm: str, platform: Platform, run: Path) -> None:
        """run: the folder of the fitted model, a copy of its own for an arm that has a filter."""
        self.arm, self.run, self.platform = arm, run, copy.deepcopy(platform)
        shop = self.platform
        shop.config = replace(shop.config, exposures_per_day=SEND * shop.config.exposures_per_day)
        shop.behind = self._shown
        self.counts = np.zeros((len(shop.people), len(COUNTED)))
        self.row = {item: row for row, item in enumerate(shop.catalogue.ids)}
        self.filter = None if arm == UNFILTERED else CoNRecFilter.load(run / "snapshots")

    def _shown(self, ranked: Shown) -> Shown:
        """What of the candidates is shown, in the order and at the times of a visit."""
        users, items, seconds = ranked
        ids, order = self.platform.catalogue.ids, np.lexsort((seconds, users))
        shown: list[Shown] = []
        for own in np.split(order, np.flatnonzero(np.diff(users[order])) + 1):
            n, user = round(len(own) / SEND), users[own[0]]
            listed = items[own if self.arm == FILTERED else own[:n]].tolist()
            if self.filter is not None:
                told = [ids[item] for item in listed]
                kept = self.filter.filter(self.platform.people.ids[user], told, want=n, replace=self.arm == FILLED).kept
                listed = list(dict.fromkeys(self.row[item] for item in kept))
            some = np.array(listed[:n], np.int64)
            shown.append((np.full(len(some), user), some, seconds[own[: len(some)]]))
        return tuple(np.concatenate(parts) for parts in zip(*shown))  # type: ignore[return-value]

    def run_day(self, day: int, rng: np.random.Generator) -> pa.Table:
        """A day of the log."""
        happened = self.platform.run_day(day, rng)
        parts = np.ones(len(happened.users)), happened.disliked, happened.clicked, happened.favorite | happened.purchase
        for column, part in enumerate(parts):
            np.add.at(self.counts[:, column], happened.users, part.astype(float))
        return day_table(day, happened, self.platform)


def ab(seed: int, likes_lost: float, out: Path, quick: bool) -> dict[str, Any]:
    """One platform; the counts of both arms by user, and what the log before promised."""
    config = load_recipe(find_recipe(Path("demo"))).simulate
    config = replace(config, seed=config.seed + seed)
    if quick:
        config = replace(config, users=400, items=300)
    first = config.days - DAYS
    platform, rng = make_platform(config)
    log = pa.concat_tables([day_table(day, platform.run_day(day, rng), platform) for day in range(first)])
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    catalogue = items_table(platform.catalogue, draw_pictures(platform.catalogue, config, out / "pictures"))
    catalogue = catalogue.select(["item_id", "title", "category", "image"])
    names = pc.replace_substring(catalogue["image"], "pictures/", "")
    catalogue = catalogue.set_column(3, "image", names)
    listed = platform.catalogue.listed

    def on_offer(since: float, until: float) -> pa.Table:
        return catalogue.filter(pa.array((listed >= since) & (listed < until)))

    model = conrec.fit(log.drop(["value"]), on_offer(-np.inf, first), images=out / "pictures", folder=out / "run")
    promise = model.calibrate(likes_lost)
    say(f"seed {seed}: {promise}")
    if promise.threshold is None:
        raise ConrecError(f"seed {seed}: no threshold could be promised for {likes_lost:.1%}; take a larger budget")
    refresh(model.folder, model.recipe)
    arms = {}
    for arm in ARMS:
        shutil.copytree(model.folder, out / arm)
        arms[arm] = Shop(arm, platform, out / arm)
    for day in range(first, config.days):
        for arm, shop in arms.items():
            table = shop.run_day(day, np.random.default_rng([config.seed, day]))
            if shop.filter is not None and day + 1 < config.days:
                pq.write_table(table.drop(["value"]), out / "day.parquet")
                pq.write_table(on_offer(day, day + 1), out / "new.parquet")
                new = {"events": out / "day.parquet", "items": out / "new.parquet", "images": out / "pictures"}
                refresh(shop.run, model.recipe, **new)
                shop.filter = CoNRecFilter.load(shop.run / "snapshots")
            say(f"seed {seed}, day {day}, {arm}: {dict(zip(COUNTED, shop.counts.sum(axis=0).round().tolist()))}")
    counts = {arm: shop.counts.tolist() for arm, shop in arms.items()}
    return {"counts": counts, "promised": _promised(model, promise.threshold)}


def _promised(model: conrec.Model, threshold: float) -> dict[str, dict[str, float]]:
    """Changes of dislikes and likes by the log before, where lists get shorter, and where they are filled up again."""
    shown = pq.read_table(model.folder / "filter/seed0/scores.parquet")
    shown = shown.filter(pc.equal(shown["split"], "test"))
    _, owner = np.unique(shown["user_id"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    kept, labels = shown["conrec"].to_numpy() <= threshold, shown["label"].to_numpy()
    n, k = np.bincount(owner), np.bincount(owner, kept)
    weight = np.minimum(n / np.maximum(k, 1), CLIP)[owner] * kept
    signs = {"dislikes": DISLIKED, "clicks": LIKED}
    return {
        REMOVAL: {name: float(kept[labels == sign].mean() - 1) for name, sign in signs.items()},
        FILTERED: {name: float(weight[labels == sign].mean() - 1) for name, sign in signs.items()},
    }


def summary(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Relative changes against the unfiltered arm, all seeds together, with 95 % intervals over users."""
    counts = {arm: np.concatenate([np.array(one["counts"][arm]) for one in seeds]) for arm in ARMS}
    base, rng, tail = counts[UNFILTERED], np.random.default_rng(0), (1 - LEVEL) / 2
    draws = [np.bincount(rng.integers(len(base), size=len(base)), minlength=len(base)) for _ in range(1000)]
    changes: dict[str, dict[str, list[float]]] = {}
    for arm in ARMS[1:]:
        drawn = [times @ counts[arm] / (times @ base) - 1 for times in draws]
        low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
        change = counts[arm].sum(axis=0) / base.sum(axis=0) - 1
        changes[arm] = {name: [change[n], low[n], high[n]] for n, name in enumerate(COUNTED)}
    promised = {
        arm: {name: float(np.mean([one["promised"][arm][name] for one in seeds])) for name in ("dislikes", "clicks")}
        for arm in (REMOVAL, FILTERED)
    }
    return {
        "users": len(base),
        "unfiltered": dict(zip(COUNTED, base.sum(axis=0).tolist())),
        "changes": changes,
        "promised": promised,
    }


def markdown(found: dict[str, Any], seeds: int, likes_lost: float) -> str:
    """The table for RESULTS.md."""
    rows = [
        f"{found['users']:,} users of {seeds} platforms, {DAYS} days, at most {likes_lost:.0%} of the likes lost",
        "",
        f"| | {' | '.join(COUNTED)} |",
        f"|---|{'---|' * len(COUNTED)}",
        f"| {UNFILTERED} | {' | '.join(f'{found[UNFILTERED][name]:,.0f}' for name in COUNTED)} |",
    ]
    for arm, one in found["changes"].items():
        cells = [f"{change:+.1%} ({low:+.1%} to {high:+.1%})" for change, low, high in one.values()]
        rows.append(f"| {arm} | {' | '.join(cells)} |")
        if arm in found["promised"]:
            told = [
                f"{found['promised'][arm][name]:+.1%}" if name in found["promised"][arm] else "" for name in COUNTED
            ]
            rows.append(f"| {arm}, by the log before | {' | '.join(told)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m benchmarks.ab", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--likes-lost", type=float, default=0.01)
    parser.add_argument("--out", type=Path, default=Path("runs/ab"))
    parser.add_argument("--quick", action="store_true", help="a tiny platform, to see that it works")
    options = parser.parse_args()
    done = []
    for one_seed in options.seeds:
        kept = options.out / f"seed{one_seed}.json"
        if not kept.exists():
            result = ab(one_seed, options.likes_lost, options.out / f"seed{one_seed}", options.quick)
            kept.write_text(json.dumps(result))
        done.append(json.loads(kept.read_text()))
    print(markdown(summary(done), len(done), options.likes_lost))
