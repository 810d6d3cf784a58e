"""A drawn log of a given size for `benchmarks.fit`: people with tastes, items with titles, reactions over half a year.

What a user thinks of an item is a bias of each, how the user takes the item's category, and a product of latent
factors; a like or a dislike is drawn from it. How often items and people turn up is Zipf-like. Nobody is sent anything
because of it, titles are drawn words, and tastes never change: a log to measure time and memory on, not quality.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

DAYS = 180
FACTORS = 8
CATEGORIES = 40
WORDS = 6000
AT_ONCE = 1_000_000
"""Events whose factors are multiplied together, so that a log of many millions takes little more memory than itself."""
START = np.datetime64("2026-01-01", "us")


def draw_log(events: int, users: int, items: int, seed: int = 0, exposures: float = 0.0) -> tuple[pa.Table, pa.Table]:
    """The tables of events (user_id, item_id, time, kind) and of items (item_id, title, category).

    exposures: share of the events that nobody reacted to; the others are dislikes (some three in ten) and likes.
    """
    rng = np.random.default_rng(seed)
    category = rng.integers(0, CATEGORIES, items)
    of_item = rng.normal(size=(items, FACTORS)) / FACTORS**0.5
    of_user = rng.normal(size=(users, FACTORS))
    taste = rng.normal(0, 0.7, (users, CATEGORIES))
    bias_user, bias_item = rng.normal(-1.2, 0.9, users), rng.normal(0, 0.9, items)

    who = rng.choice(users, events, p=_zipf(users, 0.5))
    what = rng.choice(items, events, p=_zipf(items, 0.7)[rng.permutation(items)])
    logit = np.empty(events)
    for part in np.array_split(np.arange(events), -(-events // AT_ONCE)):
        user, item = who[part], what[part]
        liking = (of_user[user] * of_item[item]).sum(axis=1)
        logit[part] = bias_user[user] + bias_item[item] + taste[user, category[item]] + liking
    disliked = rng.random(events) < 1 / (1 + np.exp(-logit))
    ignored = rng.random(events) < exposures
    kinds = np.where(ignored, 0, np.where(disliked, 1, 2))
    times = START + rng.integers(0, DAYS * 86_400_000_000, events).astype("timedelta64[us]")

    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = np.array(["".join(rng.choice(letters, length)) for length in rng.integers(3, 10, WORDS)])
    titles = words[rng.choice(WORDS, (items, 5), p=_zipf(WORDS, 0.8))]
    kind = pa.DictionaryArray.from_arrays(pa.array(kinds, pa.int8()), ["exposure", "dislike", "favorite"])
    user_ids, item_ids = _ids("u", users), _ids("i", items)
    about_events = {
        "user_id": user_ids.take(pa.array(who)),
        "item_id": item_ids.take(pa.array(what)),
        "time": pa.array(times).cast(pa.timestamp("us", tz="UTC")),
        "kind": kind.cast(pa.string()),
    }
    about_items = {
        "item_id": item_ids,
        "title": [" ".join(row) for row in titles.tolist()],
        "category": [f"category {n}" for n in category.tolist()],
    }
    return pa.table(about_events), pa.table(about_items)


def _zipf(n: int, power: float) -> np.ndarray:
    """Probabilities of n things, in the order of their ranks."""
    weights = 1 / np.arange(1, n + 1) ** power
    return weights / weights.sum()


def _ids(letter: str, count: int) -> pa.Array:
    return pa.array(np.char.add(letter, np.arange(count).astype(str)).tolist(), pa.string())
