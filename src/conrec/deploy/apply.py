"""The filter on a file of candidates, as behind a ranker (`conrec filter`)."""

from dataclasses import asdict, dataclass
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
from conrec.features.log_view import LogView
from conrec.filter.thresholds import Thresholds
from conrec.progress import track
from conrec.score.factors import UserFactors
from conrec.score.factors import score as online_score
from conrec.score.filter_score import FilterScore


@dataclass(frozen=True)
class FilterAccount:
    """What happened to every row: read = kept + dropped."""

    read: int
    kept: int
    dropped: int
    unknown_user: int
    """Rows kept because nothing is predicted for their user."""
    unknown_item: int
    """Rows kept because the catalogue does not know their item."""


def filter_file(
    candidates: Path,
    predictions: Path,
    log_view: LogView,
    score: FilterScore,
    config: SplitConfig,
    thresholds: Thresholds,
    out: Path,
) -> FilterAccount:
    """Decide about every row of a candidate list.

    candidates: a .parquet, .csv or .tsv file with the columns user_id and item_id, in any order of rows.
    predictions: a Parquet file with user_id, cut and items; of several cutoffs of a user the latest is taken, and
    nothing that happened since is known. Dropped is what scores above its threshold.
    Writes to `out` (.parquet, .csv or .tsv) the same rows in the same order: user_id, item_id, kept (bool), score
    (empty where user or item is unknown), and, where that counts, nearest_item and nearest_title (the predicted dislike
    that it is closest to). Unknown users and items are kept: no prediction is no reason to drop.
    """
    _suffix(candidates)
    _suffix(out)
    raw = read(candidates, ("user_id", "item_id"))
    if raw.lost:
        row, cause = next(iter(raw.lost.items()))
        raise ConrecError(f"{candidates}: row {row}: {cause}; every row is decided about, so mend it")
    catalog = log_view.catalog
    row_of = {item: row for row, item in enumerate(catalog.item_ids)}
    predicted_of = _latest_predictions(predictions, row_of)
    # Looked up as the log's ids were read, without surrounding blanks; written as they were given.
    given = {name: raw.table[name].cast(pa.string()) for name in ("user_id", "item_id")}
    looked_up = []
    for name in given:
        text, missing = columns.words(raw.table[name])
        if missing.any():
            raise ConrecError(f"{candidates}: row {missing.argmax() + 1} has no {name}; give it one or remove it")
        looked_up.append(text.to_pylist())
    users, ids = looked_up
    scores, nearest, kept = np.zeros(len(ids), np.float32), np.full(len(ids), -1), np.ones(len(ids), bool)
    rows_of_user: dict[str, list[int]] = {}
    known = Histories(log_view.events)
    for n, (user, item) in enumerate(zip(users, ids)):
        if item in row_of and user in predicted_of:
            rows_of_user.setdefault(user, []).append(n)
    for cutoff in track(np.unique([predicted_of[user][0] for user in rows_of_user]), "filter"):
        names = np.array(sorted(user for user in rows_of_user if predicted_of[user][0] == cutoff))
        histories = known.instances(names, np.full(len(names), cutoff), config.max_dislikes, config.max_positives)
        at_cutoff = score.at(log_view, cutoff)
        side, (vectors, biases) = at_cutoff.item_factors(), at_cutoff.user_factors(histories)
        activity = (histories.n_dislikes + histories.n_positives).tolist()
        for user, vector, bias, active in zip(names.tolist(), vectors, biases, activity):
            rows = rows_of_user[user]
            items = np.array([row_of[ids[n]] for n in rows])
            one = UserFactors(predicted_of[user][1], vector, float(bias))
            scores[rows], nearest[rows] = online_score(side, one, items, score.cosine_weight)
            kept[rows] = scores[rows].astype(np.float64) <= thresholds.of(active, items)
    near = pa.array(nearest, mask=nearest < 0)
    result = {**given, "kept": kept, "score": pa.array(scores, mask=nearest < 0)}
    if score.cosine_weight:
        result["nearest_item"] = pa.array(catalog.item_ids, pa.string()).take(near)
        result["nearest_title"] = pa.array(catalog.titles, pa.string()).take(near)
    out.parent.mkdir(parents=True, exist_ok=True)
    if _suffix(out) == ".parquet":
        pq.write_table(pa.table(result), out)
    else:
        options = pa_csv.WriteOptions(delimiter="\t" if _suffix(out) == ".tsv" else ",")
        pa_csv.write_csv(pa.table(result), out, options)
    return FilterAccount(
        read=len(ids),
        kept=int(kept.sum()),
        dropped=int((~kept).sum()),
        unknown_user=sum(user not in predicted_of for user in users),
        unknown_item=sum(user in predicted_of and item not in row_of for user, item in zip(users, ids)),
    )


def describe(account: FilterAccount) -> str:
    """The account in one line."""
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in asdict(account).items())


def _latest_predictions(predictions: Path, row_of: dict[str, int]) -> dict[str, tuple[np.datetime64, np.ndarray]]:
    """User -> the user's latest cutoff and the rows of the items predicted at it; users with none are left out."""
    table = read(predictions, ("user_id", "cutoff", "items")).table.sort_by("cutoff")
    cutoffs = table["cutoff"].cast(pa.timestamp("us", tz="UTC")).cast(pa.timestamp("us")).to_numpy()
    predicted_of = {
        user: (cutoff, np.array([row_of[item] for item in (named or []) if item in row_of], np.int64))
        for user, cutoff, named in zip(table["user_id"].to_pylist(), cutoffs, table["items"].to_pylist())
    }
    return {user: found for user, found in predicted_of.items() if len(found[1])}


def _suffix(path: Path) -> str:
    if path.suffix not in (".parquet", ".csv", ".tsv"):
        raise ConrecError(f"{path}: name a .parquet, .csv or .tsv file")
    return path.suffix
