"""Swing: our compiled kernel, against the same formula as SQL in DuckDB and as plain Python.

DuckDB builds all pairs of users of an item as a table, which is too much for the whole log; `ratio` is taken on a fifth
of it. Exact means: on a log small enough for plain Python, all three give every item the same scores and neighbours, to
1e-5 of the score (nobody's sampling can differ there: no item reaches the cap). The lower bound reads, for every two
users of an item, the list of one of them from memory and looks each entry up, on all cores.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import Any

import numpy as np

from benchmarks.measure import Result, compared, in_turns, oracle
from conrec.items.swing import MAX_USERS, swing

DUCKDB, OURS_THERE = "DuckDB SQL, on a fifth", "ours, on a fifth"
TOLERANCE = 1e-5
K = 20
ALPHA1, ALPHA2, THETA = 5.0, 1.0, 0.5
"""As the defaults of `swing`."""
NO_CAP = 1_000_000

Log = tuple[np.ndarray, np.ndarray]
"""Users and items of the dislikes, int64 [events] each."""
Scores = dict[int, dict[int, float]]
"""Item -> other item -> score, all that are not zero."""

# a1, a2, theta, cap and k are numbers of ours, never data.
SQL = """
WITH d AS (SELECT DISTINCT u, i FROM events),
     weight AS (SELECT u, power(count(*) + {a1}, -{theta}) AS w FROM d GROUP BY u),
     popular AS (SELECT i, count(*) AS n FROM d GROUP BY i),
     s AS (SELECT u, i FROM d QUALIFY row_number() OVER (PARTITION BY i ORDER BY hash(u)) <= {cap}),
     pair AS (SELECT a.i, a.u, b.u AS v FROM s a JOIN s b ON a.i = b.i AND a.u < b.u),
     known AS (SELECT DISTINCT u, v FROM pair),
     shared AS (SELECT k.u, k.v, list(a.i) AS items, count(*) AS n
                FROM known k JOIN d a ON a.u = k.u JOIN d b ON b.u = k.v AND b.i = a.i
                GROUP BY k.u, k.v HAVING count(*) >= 2),
     term AS (SELECT p.i, unnest(x.items) AS j, 2 * wu.w * wv.w / (x.n + {a2}) AS score
              FROM pair p JOIN shared x ON x.u = p.u AND x.v = p.v
              JOIN weight wu ON wu.u = p.u JOIN weight wv ON wv.u = p.v),
     total AS (SELECT t.i, t.j, sum(t.score) AS score FROM term t WHERE t.i <> t.j GROUP BY t.i, t.j)
SELECT t.i, t.j, t.score / sqrt(popular.n) AS score
FROM total t JOIN popular ON popular.i = t.j
QUALIFY row_number() OVER (PARTITION BY t.i ORDER BY score DESC, t.j) <= {k}
"""


def bench(quick: bool) -> Result:
    """1 M dislikes of 100,000 users and 50,000 items, at most 500 users of an item."""
    oracle("duckdb")
    events, users, items = (3_000, 300, 150) if quick else (1_000_000, 100_000, 50_000)
    whole, fifth = dislikes(events, users, items), dislikes(events // 5, users // 5, items // 5)
    sample = dislikes(2_000, 300, 150) if quick else dislikes(10_000, 1_000, 500)
    error = max(largest_error(sample, theirs(sample)) for theirs in (_all_by_sql, by_python))
    begin = time.perf_counter()
    by_python(sample)
    python_seconds = time.perf_counter() - begin
    begin = time.process_time()
    swing(*whole, items, K)
    cpu_seconds = time.process_time() - begin
    turns = 2 if quick else 3
    taken = in_turns(
        {"ours": lambda: swing(*whole, items, K), "lower bound": _reading(whole, MAX_USERS)},
        turns,
        clock=time.perf_counter,
    ) | in_turns(
        {
            OURS_THERE: lambda: swing(*fifth, items // 5, K),
            DUCKDB: lambda: by_sql(fifth, MAX_USERS, K),
        },
        turns,
        clock=time.perf_counter,
    )
    return compared(
        taken,
        DUCKDB,
        against=OURS_THERE,
        bench="swing",
        work=f"{events:,} dislikes, {users:,} users, {items:,} items, at most {MAX_USERS} users an item",
        exact=error <= TOLERANCE,
        clock="wall",
        targets={} if quick else {"under 5 s": bool(np.median(taken["ours"]) < 5)},
        details={
            "cpu_seconds_of_ours_on_all_cores": cpu_seconds,
            "largest_relative_error": error,
            "exactness_on": f"{len(sample[0]):,} dislikes",
            "plain_python_seconds_there": python_seconds,
        },
    )


def dislikes(events: int, users: int, items: int, seed: int = 0) -> Log:
    """A log in which some users and items are far busier than others."""
    rng = np.random.default_rng(seed)
    item = 1 / (np.arange(items) + 10) ** 0.9
    user = rng.lognormal(0, 1, users)
    return rng.choice(users, events, p=user / user.sum()), rng.choice(items, events, p=item / item.sum())


def by_sql(log: Log, cap: int, k: int) -> dict[str, np.ndarray]:
    """Columns i, j and score of the k best neighbours of every item."""
    duckdb = oracle("duckdb")
    with (
        tempfile.TemporaryDirectory() as folder,
        duckdb.connect(config={"temp_directory": folder}) as connection,
    ):
        connection.register("events", _table(log))
        query = SQL.format(
            a1=ALPHA1,
            a2=ALPHA2,
            theta=THETA,
            cap=cap,
            k=k,
        )
        found: dict[str, np.ndarray] = connection.execute(query).fetchnumpy()
        return found


def by_python(log: Log) -> Scores:
    """The formula of `conrec.items.swing` written down as it stands, without any cap."""
    of_user: dict[int, set[int]] = defaultdict(set)
    of_item: dict[int, set[int]] = defaultdict(set)
    for user, item in zip(log[0].tolist(), log[1].tolist()):
        of_user[user].add(item)
        of_item[item].add(user)
    weight = {user: (len(seen) + ALPHA1) ** -THETA for user, seen in of_user.items()}
    scores: Scores = defaultdict(lambda: defaultdict(float))
    for item, fans in of_item.items():
        for u, v in combinations(sorted(fans), 2):
            both = of_user[u] & of_user[v]
            for other in both - {item}:
                gain = 2 * weight[u] * weight[v] / (len(both) + ALPHA2)
                scores[item][other] += gain / len(of_item[other]) ** 0.5
    return scores


def largest_error(log: Log, theirs: Scores) -> float:
    """Ours against all of somebody's scores: the largest relative error of a place's score or of a neighbour's own.

    Infinite where a neighbour is missing. Two neighbours of equal score may swap places.
    """
    items = int(log[1].max()) + 1
    neighbours, scores = swing(*log, items, K, max_users=NO_CAP, max_items=NO_CAP)
    worst = 0.0
    for item in range(items):
        own = theirs.get(item, {})
        best = sorted(own.values(), reverse=True)[: neighbours.shape[1]]
        found = [(int(j), float(s)) for j, s in zip(neighbours[item], scores[item]) if j >= 0]
        if len(found) != len(best) or any(j not in own for j, _ in found):
            return float("inf")
        for (j, score), place in zip(found, best):
            worst = max(worst, abs(score - place) / place, abs(score - own[j]) / own[j])
    return worst


def _all_by_sql(log: Log) -> Scores:
    found = by_sql(log, NO_CAP, NO_CAP)
    scores: Scores = defaultdict(dict)
    for i, j, score in zip(found["i"].tolist(), found["j"].tolist(), found["score"].tolist()):
        scores[i][j] = score
    return scores


def _table(log: Log) -> Any:
    import pyarrow as pa

    return pa.table({"u": log[0], "i": log[1]})


def _reading(log: Log, cap: int) -> Any:
    """Work that looks up as many list entries as there are for every two users of an item, on all cores."""
    pairs = np.unique(np.stack(log, 1), axis=0)
    length = np.bincount(pairs[:, 0])
    fans = np.bincount(pairs[:, 1])
    kept = np.minimum(fans, cap)
    mean_length = np.bincount(pairs[:, 1], weights=length[pairs[:, 0]]) / np.maximum(fans, 1)
    entries = int((kept * (kept - 1) / 2 * mean_length).sum())
    block = 1 << 18
    table = np.zeros(len(fans), np.int32)
    places = np.random.default_rng(0).integers(0, len(fans), block)

    def read() -> None:
        out = [np.empty(block, np.int32) for _ in range(os.cpu_count() or 1)]

        def part(worker: int) -> None:
            for _ in range(worker, -(-entries // block), len(out)):
                np.take(table, places, out=out[worker], mode="clip")

        with ThreadPoolExecutor(len(out)) as pool:
            list(pool.map(part, range(len(out))))

    return read
