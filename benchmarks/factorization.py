"""LightFM (Kula 2015), the factorization with item features that one would take instead, on the log of a run.

It reads what `conrec.fit` made: dislikes against likes before test, and the fields and traits of each item beside its
identity. The package is old: `pip install --no-build-isolation lightfm==1.17` builds it beside setuptools below 70. It
is no dependency; without it the bench leaves the row out and says so.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix, hstack, identity

from conrec.data.exposures import Replay
from conrec.data.schema import SEPARATOR
from conrec.data.split import TimeSplit
from conrec.features.prepared_log import PreparedLog

DIMENSIONS, EPOCHS = 32, 10


@dataclass(frozen=True)
class Factorized:
    """What LightFM took, and how it scores."""

    cpu_s: float
    """Learning, features included."""
    scores: np.ndarray
    """float32 [n], for every exposure of the replay; higher = rather disliked."""


def factorized(log: PreparedLog, replay: Replay) -> Factorized | None:
    """LightFM with logistic loss on what is known before test, asked for a replay's exposures; None: not installed."""
    try:
        from lightfm import LightFM
    except ImportError:
        return None
    assert isinstance(log.split, TimeSplit)
    begin = time.process_time()
    told = log.view.told
    known = told.known(log.split.test_start, None)
    known = known[told.signs[known] != 0]
    # One sign a pair, the last: rows are in the order of time, user by user.
    pairs = told.users[known].astype(np.int64) * len(log.items) + told.items[known]
    _, last = np.unique(pairs[::-1], return_index=True)
    known = known[len(known) - 1 - last]
    shape = len(told.names), len(log.items)
    signs = coo_matrix((told.signs[known].astype(np.float32), (told.users[known], told.items[known])), shape)
    features = _features(log.view.fields)
    model = LightFM(no_components=DIMENSIONS, loss="logistic", random_state=0)
    model.fit(signs, item_features=features, epochs=EPOCHS, num_threads=1)
    taken = time.process_time() - begin
    place = {name: n for n, name in enumerate(told.names.tolist())}
    users = np.array([place.get(name, -1) for name in replay.instances.users.tolist()])[replay.shown.owners]
    scores = model.predict(np.maximum(users, 0), replay.shown.values, item_features=features, num_threads=1)
    # Of a user without a reaction the items' biases are known.
    scores = np.where(users < 0, (features @ model.item_biases)[replay.shown.values], scores)
    return Factorized(taken, scores.astype(np.float32))


def _features(fields: list[dict[str, str]]) -> csr_matrix:
    """float32 [items, items + values]: an item's identity and its values, as in LightFM's own examples."""
    rows, columns = [], []
    place: dict[str, int] = {}
    for row, item in enumerate(fields):
        for value in {f"{name}={part}" for name, text in item.items() for part in SEPARATOR.split(text) if part}:
            rows.append(row)
            columns.append(place.setdefault(value, len(place)))
    values = csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (len(fields), len(place)))
    return hstack([identity(len(fields), np.float32, "csr"), values], "csr")
