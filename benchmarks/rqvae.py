"""Semantic IDs: our RQ-VAE, against `ResidualVQ` alone and faiss' residual quantiser, on the same embeddings.

Ours starts from principal components and residual k-means, trains, and repairs collisions; ResidualVQ is used as its
documentation shows it, on the embeddings themselves, for as many epochs; faiss quantises them without training a
network. Here quality counts before time: `ratio` is the error (1 - cosine of an embedding to what its ID says) of
the opponent, ResidualVQ, over ours. The lower bound is the error of our latents before they are quantised. Every
method's cosine, collisions, and perplexity of each level's use are in the details.

Exact means: every item has an ID of its own, and the catalogue's vectors are the sums of its codewords.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import faiss
import numpy as np
import torch
from vector_quantize_pytorch import ResidualVQ

from benchmarks.measure import Result, one_thread, spread
from conrec.config import SidConfig
from conrec.progress import say
from conrec.sid.codebook import make_catalog
from conrec.sid.kmeans import reconstruct
from conrec.sid.quality import collisions, level_use, mean_cosine
from conrec.sid.rqvae import BATCH, SEED, decode, train_rqvae

LEVELS = 3
RESIDUAL_VQ, FAISS = "ResidualVQ alone", "faiss residual quantiser"


def bench(quick: bool) -> Result:
    """16,000 embeddings of 160 dimensions, 3 levels of 256 codes, three draws of the embeddings."""
    n, codes, epochs, draws = (640, 16, 3, 1) if quick else (16_000, 256, 60, 3)
    config = SidConfig(codes=codes, epochs=epochs)
    sizes = (codes,) * LEVELS
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    quality: dict[str, list[np.ndarray]] = {name: [] for name in METHODS}
    bounds, exact = [], True
    with one_thread():
        for draw in range(draws):
            x = embeddings(n, 160, draw)
            for name, method in METHODS.items():
                say(f"{name}: draw {draw + 1} of {draws}")
                begin = time.process_time()
                found = method(x, sizes, config)
                seconds[name].append(time.process_time() - begin)
                use = [level["perplexity_per_code"] for level in level_use(found.codes, sizes)]
                shared = collisions(found.codes)
                quality[name].append(np.array([mean_cosine(x, found.rebuilt), shared["share"], *use]))
                if name == "ours":
                    bounds.append(1 - mean_cosine(x, found.unquantised))
                    exact &= shared["items"] == 0 and found.consistent
    error = {name: 1 - np.array(found)[:, 0] for name, found in quality.items()}
    ratio = error[RESIDUAL_VQ] / error["ours"]
    mean = {name: np.mean(found, axis=0).tolist() for name, found in quality.items()}
    return Result(
        bench="rqvae",
        work=f"{n:,} embeddings of {x.shape[1]} dimensions, {LEVELS} levels of {codes} codes, {epochs} epochs",
        opponent=RESIDUAL_VQ,
        ratio=float(np.median(ratio)),
        ratio_spread=(float(ratio.min()), float(ratio.max())),
        exact=exact,
        lower_bound_share=float(np.median(np.array(bounds) / error["ours"])),
        seconds=float(np.median(seconds["ours"])),
        methods={name: spread(np.array(taken)) for name, taken in seconds.items()},
        clock="cpu",
        targets={},
        details={
            name: {"cosine": each[0], "collisions": each[1], "perplexity_per_code": each[2:]}
            for name, each in mean.items()
        },
    )


@dataclass(frozen=True)
class Quantised:
    """Quantised embeddings of one method."""

    codes: np.ndarray
    """int32 [n, levels]."""
    rebuilt: np.ndarray
    """float32 [n, d], from the codes."""
    unquantised: np.ndarray
    """float32 [n, d], from what was there before quantisation."""
    consistent: bool = True
    """Whether what the codes stand for is the sum of their codewords."""


def ours(x: np.ndarray, sizes: tuple[int, ...], config: SidConfig) -> Quantised:
    """The compress stage's method."""
    model, _ = train_rqvae(x, sizes, config)
    names = [str(item) for item in range(len(x))]
    catalog, _ = make_catalog(model, names, names, x)
    consistent = bool(np.array_equal(catalog.reconstructed, reconstruct(catalog.codes, catalog.codewords)))
    return Quantised(catalog.codes, decode(model, catalog.reconstructed), decode(model, catalog.latents), consistent)


def kmeans_alone(x: np.ndarray, sizes: tuple[int, ...], config: SidConfig) -> Quantised:
    """The fast variant (`sid.method = "kmeans"`): where ours starts from, and the repair."""
    return ours(x, sizes, dataclasses.replace(config, method="kmeans"))


def residual_vq(x: np.ndarray, sizes: tuple[int, ...], config: SidConfig) -> Quantised:
    """ResidualVQ on the embeddings themselves, its codebooks from k-means of the first batch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        quantiser = ResidualVQ(
            dim=x.shape[1],
            num_quantizers=len(sizes),
            codebook_size=sizes[0],
            decay=0.99,
            kmeans_init=True,
            kmeans_iters=10,
            threshold_ema_dead_code=2,
        )
        rows = torch.from_numpy(x)
        quantiser.train()
        for _ in range(config.epochs):
            for batch in torch.randperm(len(x)).split(BATCH):
                quantiser(rows[batch])
        quantiser.eval()
        with torch.no_grad():
            rebuilt, codes, _ = quantiser(rows)
    return Quantised(codes.numpy().astype(np.int32), rebuilt.numpy(), x)


def residual_faiss(x: np.ndarray, sizes: tuple[int, ...], config: SidConfig) -> Quantised:
    """`faiss.ResidualQuantizer` on the embeddings themselves."""
    bits = int(np.log2(sizes[0]))
    quantiser = faiss.ResidualQuantizer(x.shape[1], len(sizes), bits)
    quantiser.train(x)
    packed = quantiser.compute_codes(x)
    each_bit = np.unpackbits(packed, axis=1, bitorder="little")[:, : len(sizes) * bits].reshape(len(x), -1, bits)
    codes = (each_bit.astype(np.int32) << np.arange(bits, dtype=np.int32)).sum(axis=2, dtype=np.int32)
    return Quantised(codes, quantiser.decode(packed), x)


METHODS = {"ours": ours, "ours, k-means alone": kmeans_alone, RESIDUAL_VQ: residual_vq, FAISS: residual_faiss}


def embeddings(n: int, d: int, seed: int = 0) -> np.ndarray:
    """float32 [n, d], rows of length 1: items in kinds in categories, each closer to its own than to others."""
    rng = np.random.default_rng(seed)
    falling = 1 / np.sqrt(np.arange(1, d + 1))  # a few directions say most, as in embeddings of titles
    categories = rng.standard_normal((20, d)) * falling
    kinds = categories[rng.integers(0, 20, 400)] + 0.7 * rng.standard_normal((400, d)) * falling
    x = kinds[rng.integers(0, 400, n)] + 0.5 * rng.standard_normal((n, d)) * falling
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
