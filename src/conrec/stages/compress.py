"""Stage 2, context compression: items to embeddings, neighbours, semantic IDs (paper section 3, appendix A).

Reads prepare's items, events and split; writes

    embeddings.npy       float32 [n, input], the joint embeddings          images.json   what became of each picture
    swing.parquet        neighbours of every item by its dislikes          quality.json  how good the IDs are
    catalog.parquet, latents.npy, reconstructed.npy                        the catalogue (conrec.sid.catalog)
    codebook/            what is needed to encode items that come later

All that is learned here is learned before validation begins: encoders and codebooks from the items first seen by
then, Swing from the dislikes by then (`users` mode: from all items, and from the training users' dislikes).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conrec.config import Recipe
from conrec.data.instances import Items, read_events, read_items
from conrec.data.split import Split
from conrec.items.encoders import Content, JointEncoder
from conrec.items.fields import fields_of
from conrec.items.pictures import Picture
from conrec.items.swing import swing, write_swing
from conrec.progress import say
from conrec.sid.codebook import codebook_sizes, make_catalog, save_model
from conrec.sid.kmeans import reconstruct
from conrec.sid.quality import quality_report
from conrec.sid.rqvae import decode, train_rqvae


def compress(recipe: Recipe, prepared: Path, out: Path) -> None:
    """Run the stage; the same inputs and seed give the same bytes."""
    out.mkdir(parents=True, exist_ok=True)
    items = read_items(prepared)
    split = Split.read(prepared)
    fit_rows = known_items(items, split)

    neighbours, scores = swing(*known_dislikes(prepared, items, split), len(items), recipe.items.swing_neighbours)
    write_swing(out / "swing.parquet", items.ids, neighbours, scores)

    encoder = JointEncoder(recipe.items)
    embeddings, pictures = encoder.fit_encode(read_content(prepared), fit_rows)
    encoder.save(out / "codebook")
    np.save(out / "embeddings.npy", embeddings)
    _write_json(out / "images.json", pictures.to_json(items.ids))

    sizes = codebook_sizes(len(fit_rows), recipe.sid)
    model, history = train_rqvae(embeddings[fit_rows], sizes, recipe.sid)
    save_model(model, recipe.sid, out / "codebook")
    catalog, raw = make_catalog(model, items.ids, items.titles, embeddings)
    catalog.save(out)

    rebuilt = {
        "latents": decode(model, catalog.latents),
        "before": decode(model, reconstruct(raw, catalog.codewords)),
        "after": decode(model, catalog.reconstructed),
    }
    quality = quality_report(
        embeddings, catalog.latents, raw, catalog.codes, catalog.codewords, rebuilt, items.categories
    )
    quality["learned_from"] = len(fit_rows)
    quality["history"] = history
    _write_json(out / "quality.json", quality)
    say(quality_lines(quality))


def known_items(items: Items, split: Split) -> np.ndarray:
    """int64 [m]: rows of the items that encoders and codebooks may learn from."""
    if split.mode == "users":
        return np.arange(len(items))
    # NaT (never seen) compares as false.
    return np.flatnonzero(items.first_seen < split.validation_start)


def known_dislikes(prepared: Path, items: Items, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Users (numbered) and item rows of the dislikes that Swing may learn from, oldest first."""
    events = read_events(prepared, items)
    learned = events.take((events.kinds == "dislike") & split.may_learn(events))
    return learned.owners()[1], learned.items


def read_content(prepared: Path) -> Content:
    """Titles, fields and pictures of a `prepare` folder's items."""
    table = pq.read_table(prepared / "items.parquet")
    return Content(table["title"].to_pylist(), fields_of(table), _pictures(table, prepared))


def _pictures(table: pa.Table, prepared: Path) -> list[Picture]:
    """Bytes as they are; paths absolute, or inside the `prepare` folder: a relative one that leads out is none."""
    home = prepared.resolve()
    pictures: list[Picture] = []
    for name, content in zip(table["image"].to_pylist(), table["image_bytes"].to_pylist()):
        if content is not None or name is None:
            pictures.append(content)
            continue
        path = Path(name)
        inside = path.is_absolute() or (home / path).resolve().is_relative_to(home)
        pictures.append((home / path) if inside else None)
    return pictures


def quality_lines(quality: dict[str, Any]) -> str:
    """The quality report as a short table for people."""
    lines = ["level   codes    used   perplexity / codes"]
    for n, level in enumerate(quality["levels"], 1):
        used, share = level["used"], level["perplexity_per_code"]
        lines.append(f"{n:5d} {level['codes']:7d} {used:6.0%} {level['perplexity']:9.1f}  {share:.2f}")
    before, after = quality["collisions_before"], quality["collisions_after"]
    kept = quality["neighbours"].get("overlap_reconstructed", float("nan"))
    lines += [
        f"collisions: {before['share']:.1%} of the items, {after['share']:.1%} after the repair",
        f"cosine of reconstruction: latent {quality['cosine_latent_before']:.3f}, after the repair"
        f" {quality['cosine_latent_after']:.3f}; input {quality['cosine_input_after']:.3f}",
        f"kept of the ten nearest neighbours: {kept:.0%}; random pairs {quality['cosine_random_pairs']:+.3f}",
    ]
    return "\n".join(lines)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
