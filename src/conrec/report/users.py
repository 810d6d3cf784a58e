"""A few users of the test period as the report shows them: what they disliked and liked, what was predicted, what
they then really disliked.

Chosen at random (fixed seed) among those with a hit, those without one and those without any past dislike, so that
the page shows failures beside successes.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conrec.report.curves import read_columns
from conrec.report.pictures import Picture, thumbnail

SHOWN_HISTORY = 8
SHOWN_FUTURE = 12
TITLE_LIMIT = 120
Strips = dict[str, Any]
JOINERS = "\u200c\u200d"  # invisible, but several scripts and emoji are spelled with them


def some_users(run: Path, with_hit: int = 3, without: int = 2, no_dislikes: int = 1, seed: int = 0) -> list[Strips]:
    """A few instances of the test split (of validation where there is no test) with predictions: `user_id`, `cutoff`,
    `kind`, and `rows`, strips of items with `label`, `total`, and `items` (`title`, `picture`, and `hit`).

    Reads prepare/instances.parquet, prepare/items.parquet and predict/seed*/predictions.parquet (the first seed);
    an empty list where one of them is not there.
    """
    predictions = sorted((run / "predict").glob("seed*/predictions.parquet"))
    needed = [run / "prepare" / "instances.parquet", run / "prepare" / "items.parquet"]
    if not predictions or not all(file.is_file() for file in needed):
        return []
    predicted = read_columns(predictions[0], ["instance_id", "split", "items"])
    for split in ("test", "validation"):
        if (part := predicted.filter(pc.equal(predicted["split"], split))).num_rows:
            break
    else:
        return []
    columns = ["instance_id", "user_id", "cutoff", "n_dislikes", "n_positives", "dislikes", "positives", "future"]
    instances = read_columns(needed[0], columns, pc.field("split") == split)
    rows = {i: n for n, i in enumerate(instances["instance_id"].to_pylist())}
    guesses = dict(zip(part["instance_id"].to_pylist(), part["items"].to_pylist()))
    ids = sorted(i for i in guesses if i in rows)
    future = instances["future"].to_pylist()
    cold = np.array([instances["n_dislikes"][rows[i]].as_py() == 0 for i in ids], dtype=bool)
    hit = np.array([not set(guesses[i]).isdisjoint(future[rows[i]]) for i in ids], dtype=bool)
    rng = np.random.default_rng(seed)
    chosen: list[tuple[int, str]] = []
    for mask, count, kind in (
        (hit & ~cold, with_hit, "at least one hit"),
        (~hit & ~cold, without, "no hit"),
        (cold, no_dislikes, "no past dislikes"),
    ):
        places = np.flatnonzero(mask)
        picked = rng.permutation(places)[:count]
        chosen += [(ids[n], kind) for n in sorted(picked.tolist())]
    records = [instances.slice(rows[i], 1).to_pylist()[0] for i, _ in chosen]
    items = [guess for i, _ in chosen for guess in guesses[i]]
    for record in records:
        items += record["dislikes"][-SHOWN_HISTORY:] + record["positives"][-SHOWN_HISTORY:]
        items += record["future"][:SHOWN_FUTURE]
    catalogue = _pictured(run / "prepare", items)
    return [_user(record, guesses[i], kind, catalogue) for record, (i, kind) in zip(records, chosen)]


def _user(record: dict, guesses: Sequence[str], kind: str, catalogue: dict[str, tuple[str, Picture]]) -> Strips:
    hits = set(guesses) & set(record["future"])

    def row(label: str, items: Sequence[str], total: int, hit: Collection[str] = ()) -> Strips:
        titled = [(item, *catalogue.get(item, ("", Picture("missing")))) for item in items]
        shown = [{"title": title or tidy(item), "picture": p, "hit": item in hit} for item, title, p in titled]
        return {"label": label, "items": shown, "total": total}

    liked, disliked = (record[k][::-1][:SHOWN_HISTORY] for k in ("positives", "dislikes"))
    # What was hit comes first, so that it is not among those left out.
    future = sorted(dict.fromkeys(record["future"]), key=lambda item: item not in hits)
    rows = [
        row("Liked before, newest first", liked, record["n_positives"]),
        row("Disliked before, newest first", disliked, record["n_dislikes"]),
        row("Predicted dislikes, best first", guesses, len(guesses), hits),
        row("Really disliked in the horizon", future[:SHOWN_FUTURE], len(future), hits),
    ]
    cutoff = record["cutoff"].strftime("%-d %B %Y")
    return {"user_id": tidy(record["user_id"]), "cutoff": cutoff, "kind": kind, "rows": rows}


def _pictured(folder: Path, ids: list[str]) -> dict[str, tuple[str, Picture]]:
    """Title and thumbnail of the items that are shown, each picture decoded once."""
    file = folder / "items.parquet"
    names = pq.read_schema(file).names
    pictures = [c for c in ("image_bytes", "image") if c in names]
    table = read_columns(file, ["item_id", "title", *pictures], pc.field("item_id").isin(sorted(set(ids))))
    found = {}
    for record in table.to_pylist():
        source = next((record[c] for c in pictures if record[c]), None)
        found[record["item_id"]] = tidy(record["title"] or ""), thumbnail(source, folder)
    return found


def tidy(text: str) -> str:
    """A stranger's text on one line: no control or direction characters, not longer than `TITLE_LIMIT`."""
    text = " ".join("".join(c if c.isprintable() or c in JOINERS else " " for c in text).split())
    return text if len(text) <= TITLE_LIMIT else text[: TITLE_LIMIT - 1] + "…"
