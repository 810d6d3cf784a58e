"""The catalogue: item <-> semantic ID <-> vectors. The artefact that everything after compression reads.

In a folder: `catalog.parquet` (one row an item), `latents.npy`, `reconstructed.npy` and `codebook/`
(`codewords.safetensors`, beside the weights that encode new items).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file, save_file

from conrec.files import readable
from conrec.items.vectors import unit_rows


@dataclass(frozen=True)
class Catalog:
    """Items with their semantic IDs (paper section 3, "Context Compression with Semantic ID").

    Row n is row n of `prepare/items.parquet` everywhere.
    """

    item_ids: list[str]
    titles: list[str]
    codes: np.ndarray
    """int32 [n, levels], 0-based within each level."""
    sizes: tuple[int, ...]
    latents: np.ndarray
    """float32 [n, d]: what the encoder gives (the paper's X)."""
    reconstructed: np.ndarray
    """float32 [n, d]: the sum of the item's codewords (the paper's X-hat)."""
    codewords: list[np.ndarray]
    """Per level float32 [codes, d]."""

    def __post_init__(self) -> None:
        n = len(self.item_ids)
        lengths = {len(self.titles), len(self.codes), len(self.latents), len(self.reconstructed)}
        if lengths != {n} or self.codes.shape != (n, len(self.sizes)):
            raise ValueError(f"a catalogue's parts differ in length: {n} ids, {sorted(lengths)}, {self.codes.shape}")

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    def levels(self) -> int:
        return len(self.sizes)

    @staticmethod
    def plain(item_ids: list[str], titles: list[str], embeddings: np.ndarray) -> Catalog:
        """Items without semantic IDs (`sid.levels = 0`): their embeddings, float32 [n, d], as they are."""
        return Catalog(item_ids, titles, np.zeros((len(item_ids), 0), np.int32), (), embeddings, embeddings, [])

    @cached_property
    def unit(self) -> np.ndarray:
        """float32 [n, d]: `reconstructed` in rows of length 1, where the paper's filter and the reward compare."""
        return unit_rows(self.reconstructed)

    def extended(self, item_ids: list[str], titles: list[str], codes: np.ndarray, latents: np.ndarray) -> Catalog:
        """With further items behind its own, encoded by the same codebook."""
        rebuilt = reconstruct(codes, self.codewords) if self.levels else latents
        return replace(
            self,
            item_ids=self.item_ids + item_ids,
            titles=self.titles + titles,
            codes=np.concatenate([self.codes, codes]),
            latents=np.concatenate([self.latents, latents]),
            reconstructed=np.concatenate([self.reconstructed, rebuilt]),
        )

    def save(self, folder: Path) -> None:
        book = folder / "codebook"
        book.mkdir(parents=True, exist_ok=True)
        columns = {"item_id": pa.array(self.item_ids, pa.string()), "title": pa.array(self.titles, pa.string())}
        columns |= {f"code_{n}": pa.array(self.codes[:, n], pa.int32()) for n in range(self.levels)}
        pq.write_table(pa.table(columns), folder / "catalog.parquet")
        np.save(folder / "latents.npy", self.latents)
        np.save(folder / "reconstructed.npy", self.reconstructed)
        words = {f"level_{n}": np.ascontiguousarray(level) for n, level in enumerate(self.codewords)}
        save_file(words, book / "codewords.safetensors")

    @staticmethod
    def load(folder: Path) -> Catalog:
        """The catalogue in `folder`; ConrecError where a part is missing or cannot be read."""
        with readable(folder, "the compress"):
            table = pq.read_table(folder / "catalog.parquet")
            saved = load_file(folder / "codebook" / "codewords.safetensors")
            words = [saved[f"level_{n}"] for n in range(len(saved))]
            codes = [table[f"code_{n}"].to_numpy() for n in range(len(words))]
            return Catalog(
                item_ids=table["item_id"].to_pylist(),
                titles=table["title"].to_pylist(),
                codes=np.array(codes, np.int32).reshape(len(words), len(table)).T.copy(),
                sizes=tuple(map(len, words)),
                latents=np.load(folder / "latents.npy", allow_pickle=False),
                reconstructed=np.load(folder / "reconstructed.npy", allow_pickle=False),
                codewords=words,
            )


def reconstruct(codes: np.ndarray, codewords: list[np.ndarray]) -> np.ndarray:
    """float32 [n, d]: the sum of the codewords (the paper's X-hat)."""
    total = np.zeros((len(codes), codewords[0].shape[1]), np.float32)
    for level in range(codes.shape[1]):
        total += codewords[level][codes[:, level]]
    return total
