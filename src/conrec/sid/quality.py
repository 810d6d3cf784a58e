"""How good the semantic IDs are, level by level, before anything is trained on them.

Collapse and collisions found here cost minutes; found after the language model they cost the run.
"""

from collections import Counter

import numpy as np

from conrec.items.vectors import unit_rows
from conrec.sid.catalog import reconstruct

PROBES = 2000
"""Items whose neighbourhoods are compared (all, where there are fewer)."""
NEAREST = 10


def level_use(codes: np.ndarray, sizes: tuple[int, ...]) -> list[dict[str, float]]:
    """Per level: its codes, the share in use, and the perplexity (2 ** entropy of the use) absolute and per code."""
    report = []
    for level, size in enumerate(sizes):
        share = np.bincount(codes[:, level], minlength=size) / max(1, len(codes))
        share = share[share > 0]
        perplexity = float(np.exp(-(share * np.log(share)).sum()))
        use = {"codes": size, "used": len(share) / size}
        report.append(use | {"perplexity": perplexity, "perplexity_per_code": perplexity / size})
    return report


def collisions(codes: np.ndarray) -> dict[str, float]:
    """Items that share their ID with another one, as a number and as a share, and the items of the fullest ID."""
    counts = Counter(map(tuple, codes.tolist()))
    shared = sum(n for n in counts.values() if n > 1)
    return {"items": shared, "share": shared / max(1, len(codes)), "largest": max(counts.values(), default=0)}


def mean_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over rows of the cosine between `a` and `b`, float32 [n, d] each."""
    return float((unit_rows(a) * unit_rows(b)).sum(axis=1).mean())


def neighbour_rows(x: np.ndarray, probes: np.ndarray, k: int) -> np.ndarray:
    """int [len(probes), k]: the k rows nearest to each probe by cosine, itself left out."""
    unit = unit_rows(x)
    similar = unit[probes] @ unit.T
    similar[np.arange(len(probes)), probes] = -np.inf
    return np.argsort(-similar, axis=1, kind="stable")[:, :k]


def neighbourhoods(embeddings: np.ndarray, latents: np.ndarray, reconstructed: np.ndarray) -> dict[str, float]:
    """Share of an item's nearest by input embedding that are also its nearest by latents, and by rebuilt latents."""
    n = len(embeddings)
    k = min(NEAREST, n - 1)
    if k < 1:
        return {}
    probes = np.sort(np.random.default_rng(0).permutation(n)[:PROBES])
    near = neighbour_rows(embeddings, probes, k)
    result = {}
    for name, x in (("latent", latents), ("reconstructed", reconstructed)):
        shared = [len(np.intersect1d(a, b)) / k for a, b in zip(near, neighbour_rows(x, probes, k))]
        result[f"overlap_{name}"] = float(np.mean(shared))
    return result


def quality_report(
    embeddings: np.ndarray,
    latents: np.ndarray,
    codes_before: np.ndarray,
    codes: np.ndarray,
    codewords: list[np.ndarray],
    rebuilt: np.ndarray,
) -> dict[str, object]:
    """Everything that quality.json says of the codes, before the repair of collisions and after it.

    rebuilt: float32 [n, input], joint embeddings decoded from the quantised latents.
    """
    before, after = reconstruct(codes_before, codewords), reconstruct(codes, codewords)
    a, b = np.random.default_rng(0).integers(0, len(codes), (2, 10_000))
    different = a != b
    energy = np.linalg.svd(latents - latents.mean(axis=0), compute_uv=False) ** 2
    share = energy[energy > 0] / energy.sum() if energy.sum() > 0 else np.ones(1)
    return {
        "items": len(codes),
        "dimensions": latents.shape[1],
        "effective_dimensions": float(np.exp(-(share * np.log(share)).sum())),
        "levels": level_use(codes, tuple(len(words) for words in codewords)),
        "collisions_before": collisions(codes_before),
        "collisions_after": collisions(codes),
        "moved_by_repair": float((codes != codes_before).any(axis=1).mean()),
        "cosine_latent_before": mean_cosine(latents, before),
        "cosine_latent_after": mean_cosine(latents, after),
        "cosine_input_after": mean_cosine(embeddings, rebuilt),
        "cosine_random_pairs": mean_cosine(after[a][different], after[b][different]) if different.any() else 0.0,
        "neighbours": neighbourhoods(embeddings, latents, after),
    }
