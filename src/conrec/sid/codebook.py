"""The frozen codebook: sized to the catalogue, trained once, and how later items get their IDs from it."""

import json
import math
from functools import partial
from pathlib import Path

import numpy as np
from safetensors.torch import load_file, save_file

from conrec.config import SidConfig
from conrec.errors import ConrecError
from conrec.files import readable, write_json
from conrec.parallel import map_parts
from conrec.sid.catalog import Catalog, reconstruct
from conrec.sid.collisions import repair
from conrec.sid.kmeans import assign
from conrec.sid.rqvae import RqVae, encode

ITEMS_PER_CODE = 39
USUAL_LEAST, LEAST, MOST = 64, 16, 8192
AT_ONCE = 8192
"""Items of a part (`conrec.parallel`)."""


def codebook_sizes(n: int, config: SidConfig) -> tuple[int, ...]:
    """Codes per level for `n` items to learn from.

    With `sid.codes = 0` the power of two nearest to n / 39 (the paper's 8192 from some 320,000 items on): larger
    codebooks only memorise. At least 64, or items of a small catalogue cannot be told apart (1,763 simulated ones:
    latent cosine 0.85 with 32, 0.90 with 64), unless there are fewer items. ConrecError where there are fewer
    items than codes.
    """
    codes = config.codes
    if codes == 0:
        sized = 2 ** round(math.log2(max(1, n) / ITEMS_PER_CODE))
        possible = 2 ** int(math.log2(max(1, n)))
        codes = max(LEAST, min(MOST, max(USUAL_LEAST, sized), possible))
    if n < codes:
        what = f"sid.codes = {config.codes} needs" if config.codes else "semantic IDs need"
        raise ConrecError(f"{what} at least {codes} items first seen before validation, not {n}; use a longer log")
    return (codes,) * config.levels


def make_catalog(model: RqVae, item_ids: list[str], titles: list[str], x: np.ndarray) -> tuple[Catalog, np.ndarray]:
    """The catalogue of items with joint embeddings `x` float32 [n, input], and the codes int32 [n, levels]
    as they were before collisions were repaired."""
    words = model.codewords()
    latents = encode(model, x)
    parts = [latents[n : n + AT_ONCE] for n in range(0, len(latents), AT_ONCE)]
    raw = np.concatenate(list(map_parts(partial(assign, codewords=words), parts, "semantic IDs")))
    codes = repair(latents, raw, words)
    sizes = tuple(len(level) for level in words)
    return Catalog(item_ids, titles, codes, sizes, latents, reconstruct(codes, words), words), raw


def add_items(catalog: Catalog, model: RqVae, item_ids: list[str], titles: list[str], x: np.ndarray) -> Catalog:
    """The catalogue with further items, none of which it holds yet, encoded by the frozen codebook.

    A new item never takes an ID that is in use.
    """
    latents = encode(model, x)
    taken = set(map(tuple, catalog.codes.tolist()))
    codes = repair(latents, assign(latents, catalog.codewords), catalog.codewords, taken)
    return catalog.extended(item_ids, titles, codes, latents)


def save_model(model: RqVae, config: SidConfig, folder: Path) -> None:
    """Weights and shape into `folder` (rqvae.safetensors, rqvae.json)."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / "rqvae.safetensors")
    width, sizes = model.encoder.straight.in_features, [len(words) for words in model.codewords()]
    shape = {"input": width, "dimensions": config.dimensions, "hidden": list(config.hidden), "sizes": sizes}
    write_json(folder / "rqvae.json", shape)


def load_model(folder: Path) -> RqVae:
    """The frozen RQ-VAE of a compress stage's `codebook` folder."""
    with readable(folder, "the compress"):
        shape = json.loads((folder / "rqvae.json").read_text())
        config = SidConfig(dimensions=shape["dimensions"], hidden=tuple(shape["hidden"]))
        model = RqVae(shape["input"], tuple(shape["sizes"]), config)
        model.load_state_dict(load_file(folder / "rqvae.safetensors"))
    return model.eval()
