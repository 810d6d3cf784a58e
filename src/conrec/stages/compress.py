"""Stage 2, context compression: items to embeddings, neighbours, semantic IDs (paper section 3, appendix A).

Reads prepare's items, events and split; writes

    embeddings.npy       float32 [n, input], the joint embeddings          images.json   what became of each picture
    swing.parquet        neighbours of every item by its dislikes          quality.json  how good the IDs are
    catalog.parquet, latents.npy, reconstructed.npy                        the catalogue (conrec.sid.catalog)
    traits.parquet       traits of every item (conrec.items.traits)
    codebook/            what is needed to encode items that come later

All that is learned here is learned before validation begins: encoders and codebooks from the items first seen by
then, Swing from the dislikes by then (`users` mode: from all items, and from the training users' dislikes).
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from conrec.files import write_json
from conrec.items.encoders import Content, JointEncoder
from conrec.items.fields import fields_of
from conrec.items.pictures import Picture
from conrec.items.swing import swing, write_swing
from conrec.items.traits import TraitEncoder, write_traits
from conrec.pipeline.job import Job
from conrec.progress import say
from conrec.sid.catalog import Catalog

WORDS = 300
"""Words of an item's further text that are read."""


def compress(job: Job) -> None:
    """Run the stage; the same inputs and seed give the same bytes."""
    recipe, log, out = job.recipe, job.log, job.out
    items = log.items
    fit_rows = log.split.known_items(items)

    learned = log.events.take(log.split.may_learn(log.events))
    encoder, content = JointEncoder(recipe.items), content_of(log.item_table, log.prepared, log.split.by_category)
    embeddings, pictures = encoder.fit_encode(content, fit_rows)
    encoder.save(out / "codebook")
    np.save(out / "embeddings.npy", embeddings)
    write_json(out / "images.json", pictures.to_json(items.ids))
    if recipe.items.traits:
        traits = TraitEncoder(None if recipe.items.image == "none" else encoder.hog)
        traits.fit(content, items.ids, fit_rows, learned)
        traits.save(out / "codebook")
        write_traits(out, traits.encode(content))

    if not recipe.sid.levels:
        return Catalog.plain(items.ids, items.titles, embeddings).save(out)
    disliked = learned.take(learned.is_dislike)
    neighbours, scores = swing(disliked.owners()[1], disliked.items, len(items), recipe.items.swing_neighbours)
    write_swing(out / "swing.parquet", items.ids, neighbours, scores)
    _semantic_ids(job, embeddings, fit_rows)


def _semantic_ids(job: Job, embeddings: np.ndarray, fit_rows: np.ndarray) -> None:
    """Learn the codebook from the items at `fit_rows`, give every item its ID, and measure both."""
    from conrec.sid.codebook import codebook_sizes, make_catalog, save_model
    from conrec.sid.quality import quality_report
    from conrec.sid.rqvae import decode, train_rqvae

    recipe, items, out = job.recipe, job.log.items, job.out
    sizes = codebook_sizes(len(fit_rows), recipe.sid)
    model, history = train_rqvae(embeddings[fit_rows], sizes, recipe.sid)
    save_model(model, recipe.sid, out / "codebook")
    catalog, raw = make_catalog(model, items.ids, items.titles, embeddings)
    catalog.save(out)

    quality: dict[str, Any] = quality_report(
        embeddings, catalog.latents, raw, catalog.codes, catalog.codewords, decode(model, catalog.reconstructed)
    )
    quality |= {"learned_from": len(fit_rows), "history": history}
    write_json(out / "quality.json", quality)
    used = ", ".join(f"{level['used']:.0%} of {level['codes']}" for level in quality["levels"])
    before, after = (quality[f"collisions_{when}"]["share"] for when in ("before", "after"))
    kept = quality["neighbours"].get("overlap_reconstructed", float("nan"))
    say(
        f"semantic IDs: codes in use {used}; of the items {before:.1%} collide, {after:.1%} after the repair\n"
        f"cosine to latents {quality['cosine_latent_after']:.3f} (random pairs {quality['cosine_random_pairs']:+.3f})"
        f", to the input {quality['cosine_input_after']:.3f}; kept of the ten nearest neighbours {kept:.0%}"
    )


def content_of(items: pa.Table, folder: Path, containers: bool = False) -> Content:
    """Titles with texts, fields, and pictures of a table ITEMS; a relative path of a picture begins in `folder`.
    `containers`: see `fields_of`."""
    texts = items["text"].to_pylist() if "text" in items.column_names else [None] * len(items)
    words = [(text or "").split()[:WORDS] for text in texts]
    titles = [" ".join([title, *more]) for title, more in zip(items["title"].to_pylist(), words)]
    return Content(titles, fields_of(items, containers=containers), pictures_of(items, folder))


def pictures_of(table: pa.Table, folder: Path) -> list[Picture]:
    """Bytes as they are; paths absolute, or inside the folder: a relative one that leads out is none."""
    home = folder.resolve()
    pictures: list[Picture] = []
    for name, content in zip(table["image"].to_pylist(), table["image_bytes"].to_pylist()):
        path = None if name is None else home / name
        inside = path is not None and (Path(name).is_absolute() or path.resolve().is_relative_to(home))
        pictures.append(content if content is not None else path if inside else None)
    return pictures
