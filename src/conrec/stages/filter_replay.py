"""Stage: replay the filter on what was really shown; and the filter itself, on a file of candidates."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from conrec.baselines.base import read_known
from conrec.baselines.boosted import Boosted
from conrec.baselines.trivial import filter_systems
from conrec.config import Recipe
from conrec.data.instances import Instances, Items, Ragged, read_instances
from conrec.data.split import Split
from conrec.errors import ConrecError
from conrec.evaluate.protocol import OURS, rows_of
from conrec.filtering.past import Past
from conrec.filtering.replay import LIKED, Replay, measure, read_replay, suppression
from conrec.filtering.score import FilterScore
from conrec.filtering.similarity import NOTHING_NEAR, max_cosine, max_cosine_batch
from conrec.filtering.threshold import choose_threshold
from conrec.progress import say, track
from conrec.sid.catalog import Catalog
from conrec.stages.compare import compared
from conrec.stages.fit_score import fit_score

SPLITS = ("validation", "test")


def filter_replay(
    recipe: Recipe,
    prepared: Path,
    compressed: Path,
    predicted: Path,
    out: Path,
    seed: int,
    utilized: Path | None = None,
) -> None:
    """Fit the score, and write `score/`, `scores.parquet` and `replay.json` into `out`.

    `scores.parquet` has every shown item with its label, the score in use (`conrec`), its parts (`conrec_paper`, and
    of the default score `conrec_rates`, `conrec_history`, `conrec_contrast`) and every other filter's score.
    Thresholds are chosen on validation within the recipe's budget of lost likes (`filter.threshold` overrides
    CoNRec's) and judged on test. Predictions come from `predicted/predictions.parquet` and, for users who disliked
    nothing in a window, `predicted/replay.parquet`; `covered` says what share of the showings had a prediction.
    utilized: a `utilize/seedN` folder, for the contrast; without it the score has none.
    """
    past, split = Past.read(prepared, compressed), Split.read(prepared)
    items = past.items
    instances = read_instances(prepared, items)
    known = read_known(prepared, compressed, items, instances)
    systems = [*filter_systems(), Boosted(past, split, recipe.split, seed)]
    for system in systems:
        system.fit(known)
    replays = {name: read_replay(prepared, items, instances, name, recipe.split) for name in SPLITS}
    lists = {n: predicted_lists(predicted, r.instances, items, recipe.predict.k) for n, r in replays.items()}
    rows = {name: padded_rows(replay.shown) for name, replay in replays.items()}
    cosines = {n: max_cosine_batch(past.catalog.unit, rows[n], lists[n])[rows[n] != -1] for n in SPLITS}
    score, parts = FilterScore.paper(), {name: dict[str, np.ndarray]() for name in SPLITS}
    if recipe.filter.score == "default":
        score, parts = fit_score(recipe, past, split, replays, cosines, utilized, out / "score", seed)
    score.save(out / "score")

    report: dict[str, Any] = {
        "seed": seed,
        "score": score.name,
        "likes_lost": recipe.filter.likes_lost,
        "threshold": None,
        "weights": {
            "history": score.history_weight if score.history else 0.0,
            "contrast": score.contrast_weight,
            "cosine": score.cosine_weight,
        },
    }
    scores: dict[str, dict[str, np.ndarray]] = {}
    for name, replay in replays.items():
        covered = np.any(lists[name] >= 0, axis=1)
        scores[name] = {OURS: combined(score, parts[name], cosines[name]), f"{OURS}_paper": cosines[name]}
        scores[name] |= {f"{OURS}_{part}": values for part, values in parts[name].items()}
        for system in track(systems, f"filter replay, {name}"):
            scores[name][system.name] = system.score_candidates(replay.instances, rows[name])[rows[name] != -1]
        report[name] = {
            "pairs": len(replay),
            "covered": float(covered[replay.shown.owners].mean()) if len(replay) else None,
            "systems": {},
        }

    for name in scores["validation"]:
        chosen = recipe.filter.threshold if name == OURS else None
        if chosen is None:
            liked = scores["validation"][name][replays["validation"].labels.values == LIKED]
            chosen = choose_threshold(liked, recipe.filter.likes_lost) if len(liked) else None
        if chosen is not None and not np.isfinite(chosen):
            chosen = float(scores["validation"][name].min()) - 1
        if name == OURS:
            report["threshold"] = chosen
            if chosen is None:
                say("filter: no like in the validation windows to choose a threshold by; set filter.threshold")
        for part, replay in replays.items():
            report[part]["systems"][name] = measure(scores[part][name], replay.labels.values, chosen)
    for name, replay in replays.items():
        report[name] |= compared(replay, {system: [values] for system, values in scores[name].items()})
        report[name]["suppression"] = suppression(scores[name][OURS], replay, report["threshold"])
    out.mkdir(parents=True, exist_ok=True)
    tables = [_score_table(name, replays[name], scores[name], items) for name in SPLITS]
    pq.write_table(pa.concat_tables(tables), out / "scores.parquet", compression="zstd")
    (out / "replay.json").write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")


def combined(score: FilterScore, parts: dict[str, np.ndarray], cosine: np.ndarray) -> np.ndarray:
    """float32: the score of everything shown from its parts; the same as the served form gives."""
    if score.history is None:
        return cosine
    result = score.constant + score.history_weight * parts["history"]
    if score.contrast is not None:
        result = result + score.contrast_weight * parts["contrast"]
    cosine = np.where(cosine == NOTHING_NEAR, score.usual_cosine, cosine)
    return (result + score.cosine_weight * cosine).astype(np.float32)


def predicted_lists(predicted: Path, instances: Instances, items: Items, k: int) -> np.ndarray:
    """int32 [B, k]: the predicted set for each (user, cut-off), whatever the split; rows of -1 without one."""
    found: dict[tuple[str, Any], list[str]] = {}
    for name in ("predictions.parquet", "replay.parquet"):
        if (predicted / name).exists():
            table = pq.read_table(predicted / name, columns=["user_id", "cut", "items"])
            pairs = zip(table["user_id"].to_pylist(), _naive(table["cut"]).tolist())
            found.update(zip(pairs, table["items"].to_pylist()))
    pairs = zip(instances.users.tolist(), instances.cuts.astype("datetime64[us]").tolist())
    lists = pa.array([found.get(pair, []) for pair in pairs], pa.list_(pa.string()))
    return np.maximum(rows_of(pa.chunked_array([lists]), items, k), -1)


def padded_rows(lists: Ragged) -> np.ndarray:
    """int32 [B, longest], -1 where a list has ended."""
    result = np.full((len(lists), int(lists.lengths.max(initial=0))), -1, np.int32)
    result[np.arange(result.shape[1]) < lists.lengths[:, None]] = lists.values
    return result


def _score_table(split: str, replay: Replay, scores: dict[str, np.ndarray], items: Items) -> pa.Table:
    """One row per showing."""
    owners, ids = replay.shown.owners, np.array(items.ids, object)
    return pa.table(
        {
            "split": pa.array([split] * len(owners), pa.string()),
            "user_id": pa.array(replay.instances.users[owners].tolist(), pa.string()),
            "cut": pa.array(replay.instances.cuts[owners]).cast(pa.timestamp("us", tz="UTC")),
            "item_id": pa.array(ids[replay.shown.values].tolist(), pa.string()),
            "label": pa.array(replay.labels.values, pa.int8()),
            **{name: pa.array(values, pa.float32()) for name, values in scores.items()},
        }
    )


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


def filter_file(candidates: Path, predictions: Path, compressed: Path, threshold: float, out: Path) -> FilterAccount:
    """Decide about every row of a candidate list (`conrec filter`).

    candidates: a .parquet, .csv or .tsv file with the columns user_id and item_id, in any order of rows.
    predictions: a Parquet file with user_id, cut and items; of several cut-offs of a user the latest is taken.
    Writes to `out` (.parquet, .csv or .tsv) the same rows in the same order: user_id, item_id, kept (bool), score
    (the largest cosine; empty where user or item is unknown), nearest_item and nearest_title (the predicted dislike
    that it is closest to). Unknown users and items are kept: no prediction is no reason to drop.
    """
    table = _read_table(candidates, ("user_id", "item_id"))
    if not -1 <= threshold <= 1:
        raise ConrecError(f"--threshold {threshold}: a cosine lies between -1 and 1; give such a value")
    _suffix(out)
    catalog = Catalog.load(compressed)
    row_of = {item: row for row, item in enumerate(catalog.item_ids)}
    sets = _latest_sets(predictions, row_of)
    users, ids = table["user_id"].to_pylist(), table["item_id"].to_pylist()
    for name, column in (("user_id", users), ("item_id", ids)):
        if None in column:
            raise ConrecError(f"{candidates}: row {column.index(None) + 1} has no {name}; give it one or remove it")
    scores: list[float | None] = [None] * len(ids)
    nearest: list[int | None] = [None] * len(ids)
    rows_of_user: dict[str, list[int]] = {}
    for n, (user, item) in enumerate(zip(users, ids)):
        if item in row_of and user in sets:
            rows_of_user.setdefault(user, []).append(n)
    for user, rows in track(rows_of_user.items(), "filter", total=len(rows_of_user)):
        score, which = max_cosine(catalog.unit[[row_of[ids[n]] for n in rows]], catalog.unit[sets[user]])
        for n, value, near in zip(rows, score.tolist(), which.tolist()):
            scores[n], nearest[n] = value, int(sets[user][near])
    kept = [score is None or score <= threshold for score in scores]
    result = pa.table(
        {
            "user_id": pa.array(users, pa.string()),
            "item_id": pa.array(ids, pa.string()),
            "kept": pa.array(kept, pa.bool_()),
            "score": pa.array(scores, pa.float32()),
            "nearest_item": pa.array([None if n is None else catalog.item_ids[n] for n in nearest], pa.string()),
            "nearest_title": pa.array([None if n is None else catalog.titles[n] for n in nearest], pa.string()),
        }
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    if _suffix(out) == ".parquet":
        pq.write_table(result, out)
    else:
        options = pa_csv.WriteOptions(delimiter="\t" if _suffix(out) == ".tsv" else ",")
        pa_csv.write_csv(result, out, options)
    return FilterAccount(
        read=len(ids),
        kept=sum(kept),
        dropped=len(ids) - sum(kept),
        unknown_user=sum(user not in sets for user in users),
        unknown_item=sum(user in sets and item not in row_of for user, item in zip(users, ids)),
    )


def describe(account: FilterAccount) -> str:
    """The account in one line."""
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in asdict(account).items())


def _latest_sets(predictions: Path, row_of: dict[str, int]) -> dict[str, np.ndarray]:
    """User -> rows of the items predicted at the user's latest cut-off; users with none are left out."""
    table = _read_table(predictions, ("user_id", "cut", "items")).sort_by("cut")
    sets = {
        user: np.array([row_of[item] for item in (named or []) if item in row_of], np.int64)
        for user, named in zip(table["user_id"].to_pylist(), table["items"].to_pylist())
    }
    return {user: rows for user, rows in sets.items() if len(rows)}


def _read_table(path: Path, columns: tuple[str, ...]) -> pa.Table:
    """These columns of a table, ids as text; one clear line where that is not possible."""
    suffix = _suffix(path)
    try:
        if suffix == ".parquet":
            table = pq.read_table(path)
        else:
            table = pa_csv.read_csv(
                path,
                parse_options=pa_csv.ParseOptions(delimiter="\t" if suffix == ".tsv" else ","),
                convert_options=pa_csv.ConvertOptions(
                    column_types={"user_id": pa.string(), "item_id": pa.string()},
                    strings_can_be_null=True,
                    null_values=[""],
                ),
            )
    except FileNotFoundError:
        raise ConrecError(f"{path}: there is no such file") from None
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise ConrecError(f"{path}: not a readable {suffix[1:]} table ({reason})") from error
    for name in columns:
        if name not in table.column_names:
            raise ConrecError(
                f"{path}: no column {name}; it needs {', '.join(columns)} and has {', '.join(table.column_names)}"
            )
    table = table.select(list(columns))
    for name in ("user_id", "item_id"):
        if name in columns:
            table = table.set_column(columns.index(name), name, table[name].cast(pa.string()))
    return table


def _suffix(path: Path) -> str:
    """.parquet, .csv or .tsv."""
    if path.suffix not in (".parquet", ".csv", ".tsv"):
        raise ConrecError(f"{path}: name a .parquet, .csv or .tsv file")
    return path.suffix


def _naive(column: pa.ChunkedArray) -> np.ndarray:
    """A UTC time column as datetime64[us]."""
    return column.cast(pa.timestamp("us", tz="UTC")).cast(pa.timestamp("us")).to_numpy()
