"""The filter on a file of candidates, as behind a ranker (`conrec filter`)."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from conrec.config import SplitConfig
from conrec.data.adapters import columns
from conrec.data.adapters.files import read
from conrec.data.histories import Histories
from conrec.errors import ConrecError
from conrec.features.prepared_log import PreparedLog
from conrec.filter.thresholds import Thresholds
from conrec.progress import track
from conrec.score.factors import UserFactors, served_scores
from conrec.score.history import HistoryScore


def filter_file(
    candidates: Path,
    log: PreparedLog,
    score: HistoryScore,
    config: SplitConfig,
    thresholds: Thresholds,
    out: Path,
    known_as: Callable[[str], str] = str,
) -> dict[str, int]:
    """Decide about every row of a candidate list; how many were read, kept, and dropped, and kept as unknown: for want
    of a held-out instance of the user, or of the item in the catalogue.

    candidates: a .parquet, .csv or .tsv file with the columns user_id and item_id, in any order of rows.
    Of the held-out instances of a user (`log.instances`) the one with the latest cutoff is taken, and nothing that
    happened since is known. Dropped is what scores above its threshold.
    `known_as`: what stands for a user's id in the log (`data.pseudonyms`).
    Writes to `out` (.parquet, .csv or .tsv) the same rows in the same order: user_id, item_id, kept (bool), and score
    (empty where user or item is unknown). Unknown users and items are kept.
    """
    _suffix(candidates)
    _suffix(out)
    raw = read(candidates, ("user_id", "item_id"))
    if raw.lost:
        row, cause = next(iter(raw.lost.items()))
        raise ConrecError(f"{candidates}: row {row}: {cause}; every row is decided about, so mend it")
    row_of = {item: row for row, item in enumerate(log.items.ids)}
    held_out = log.instances.take(log.instances.split != "train")
    order = np.argsort(held_out.cutoffs, kind="stable")
    cutoff_of = dict(zip(held_out.users[order].tolist(), held_out.cutoffs[order]))
    # Looked up as the log's ids were read, without surrounding blanks; written as they were given.
    given = {name: raw.table[name].cast(pa.string()) for name in ("user_id", "item_id")}
    looked_up = []
    for name in given:
        text, missing = columns.words(raw.table[name])
        if missing.any():
            raise ConrecError(f"{candidates}: row {missing.argmax() + 1} has no {name}; give it one or remove it")
        looked_up.append(text.to_pylist())
    users, ids = list(map(known_as, looked_up[0])), looked_up[1]
    scores, kept = np.full(len(ids), np.nan, np.float32), np.ones(len(ids), bool)
    rows_of_user: dict[str, list[int]] = {}
    known = Histories(log.events)
    for n, (user, item) in enumerate(zip(users, ids)):
        if item in row_of and user in cutoff_of:
            rows_of_user.setdefault(user, []).append(n)
    for cutoff in track(np.unique([cutoff_of[user] for user in rows_of_user]), "filter"):
        names = np.array(sorted(user for user in rows_of_user if cutoff_of[user] == cutoff))
        histories = known.instances(names, np.full(len(names), cutoff), config.max_dislikes, config.max_positives)
        at_cutoff = score.at(log.view, cutoff)
        side, (vectors, biases) = at_cutoff.item_factors(), at_cutoff.user_factors(histories)
        activity = (histories.n_dislikes + histories.n_positives).tolist()
        for user, vector, bias, active in zip(names.tolist(), vectors, biases, activity):
            rows = rows_of_user[user]
            items = np.array([row_of[ids[n]] for n in rows])
            scores[rows] = served_scores(side, UserFactors(vector, float(bias)), items)
            kept[rows] = scores[rows].astype(np.float64) <= thresholds.of(active, items)
    result = {**given, "kept": kept, "score": pa.array(scores, mask=np.isnan(scores))}
    out.parent.mkdir(parents=True, exist_ok=True)
    if _suffix(out) == ".parquet":
        pq.write_table(pa.table(result), out)
    else:
        options = pa_csv.WriteOptions(delimiter="\t" if _suffix(out) == ".tsv" else ",")
        pa_csv.write_csv(pa.table(result), out, options)
    strangers = sum(user not in cutoff_of for user in users)
    unknown = sum(user in cutoff_of and item not in row_of for user, item in zip(users, ids))
    counts = {"read": len(ids), "kept": int(kept.sum()), "dropped": int((~kept).sum())}
    return counts | {"unknown user": strangers, "unknown item": unknown}


def _suffix(path: Path) -> str:
    if path.suffix not in (".parquet", ".csv", ".tsv"):
        raise ConrecError(f"{path}: name a .parquet, .csv or .tsv file")
    return path.suffix
