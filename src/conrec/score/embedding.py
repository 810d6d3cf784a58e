"""The space of item embeddings, in which one vector a user says what this user dislikes (docs/filter.md).

    k(i, j) = (OFFSET + <z_i, z_j>)^2,   z = fields (category, attributes) beside the content embedding, length 1,

counts what two items share and every pair of it. The leading principal components of this kernel, by the Nyström method
on some landmark items (Williams and Seeger 2001), are the space. It is fitted on the items of the training period;
later items are put into it as it is. Where user embeddings are known well enough to say so, it is narrowed to the
directions in which users differ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from conrec.items.fields import FieldsEncoder
from conrec.sid.catalog import unit_rows

OFFSET = 0.3
LANDMARKS = 1000
FIELDS = 128
"""Dimensions that the fields are laid out in before the kernel."""


@dataclass(frozen=True)
class EmbeddingSpace:
    """A fitted space; `of` puts items into it."""

    encoder: FieldsEncoder
    landmarks: np.ndarray
    """float32 [m, D]: contents of the landmark items."""
    projection: np.ndarray
    """float32 [m, d]."""
    mean: np.ndarray
    """float32 [d]."""

    def __post_init__(self) -> None:
        # In the order in which it is saved: BLAS may round a matrix in another order differently.
        object.__setattr__(self, "projection", np.ascontiguousarray(self.projection))

    @classmethod
    def fit(
        cls, fields: list[dict[str, str]], content: np.ndarray, known: np.ndarray, dimensions: int, seed: int = 0
    ) -> EmbeddingSpace:
        """fields and content (float32 [n, D]) of all items; known: int [k], the rows that may be learned from."""
        encoder = FieldsEncoder(FIELDS, seed)
        own = [fields[row] for row in known]
        encoder.fit(own)
        z = _contents(encoder, own, content[known])
        chosen = np.sort(np.random.default_rng(seed).choice(len(z), min(LANDMARKS, len(z)), replace=False))
        landmarks = z[chosen]
        values, vectors = np.linalg.eigh(_kernel(landmarks, landmarks).astype(np.float64))
        leading = np.arange(len(values))[::-1][:dimensions]
        leading = leading[values[leading] > 1e-6 * values[-1]]
        projection = vectors[:, leading] / np.sqrt(values[leading])
        points = _kernel(z, landmarks) @ projection
        mean = points.mean(axis=0)
        scale = float((points - mean).std()) or 1.0
        return cls(encoder, landmarks, (projection / scale).astype(np.float32), (mean / scale).astype(np.float32))

    @property
    def dimensions(self) -> int:
        """Dimensions d, at most as many as were asked for."""
        return self.projection.shape[1]

    def of(self, fields: list[dict[str, str]], content: np.ndarray) -> np.ndarray:
        """Embeddings float32 [n, d] of items; over all coordinates of the items it was fitted on the variance is 1."""
        found = np.empty((len(fields), self.dimensions), np.float32)
        for some in (slice(start, start + 65536) for start in range(0, len(fields), 65536)):
            contents = _contents(self.encoder, fields[some], content[some])
            found[some] = _kernel(contents, self.landmarks) @ self.projection - self.mean
        return found

    def without_each(
        self, fields: list[dict[str, str]], content: np.ndarray, most: int
    ) -> tuple[np.ndarray, list[str], np.ndarray]:
        """What each value of the items' fields adds: the embedding less that of the same item without the value.

        Whose it is (int64 [v]), its name, float32 [v, d]; as `FieldsEncoder.without_each`.
        """
        owners, names, encoded = self.encoder.without_each(fields, most)
        encoded, own, split = unit_rows(encoded), 0.5 * content, encoded.shape[1]
        # The content is multiplied once an item, not once a value.
        products = encoded @ self.landmarks[:, :split].T + (own @ self.landmarks[:, split:].T)[owners]
        lengths = np.sqrt((encoded**2).sum(axis=1) + (own**2).sum(axis=1)[owners])
        kernel = (OFFSET + products / np.maximum(lengths, 1e-12)[:, None]) ** 2
        return owners, names, self.of(fields, content)[owners] - (kernel @ self.projection - self.mean)

    def narrowed(self, items: np.ndarray, users: np.ndarray, dimensions: int) -> EmbeddingSpace:
        """The directions in which users differ most, as far as items differ in them; the widest has the most weight.

        items: float32 [n, d], `of` the items it was fitted on; users: float32 [u, d], embeddings of many users. Where
        users do not differ, it is the leading directions of the items.
        """
        if not users.any():
            return replace(self, projection=self.projection[:, :dimensions], mean=self.mean[:dimensions])
        d = items.shape[1]
        covariance = items.T.astype(np.float64) @ items / len(items)
        root = np.linalg.cholesky(covariance + 1e-6 * np.eye(d))
        _, sizes, directions = np.linalg.svd(users @ root, full_matrices=False)
        leading = slice(0, min(dimensions, int((sizes > 1e-6 * sizes[0]).sum())))
        turn = np.linalg.solve(root.T, directions[leading].T) * sizes[leading]
        turn /= np.sqrt(np.mean(sizes[leading] ** 2))
        turn = turn.astype(np.float32)
        return replace(self, projection=self.projection @ turn, mean=self.mean @ turn)

    def state(self) -> dict[str, np.ndarray]:
        arrays = {"landmarks": self.landmarks, "projection": self.projection, "mean": self.mean}
        return arrays | {f"fields/{name}": value for name, value in self.encoder.state().items()}

    @classmethod
    def restore(cls, state: dict[str, np.ndarray]) -> EmbeddingSpace:
        encoder = FieldsEncoder(FIELDS)
        encoder.restore({n.removeprefix("fields/"): v for n, v in state.items() if n.startswith("fields/")})
        return cls(encoder, state["landmarks"], state["projection"], state["mean"])


def _contents(encoder: FieldsEncoder, fields: list[dict[str, str]], content: np.ndarray) -> np.ndarray:
    """z, float32 [n, FIELDS + D]."""
    return unit_rows(np.hstack([unit_rows(encoder.encode(fields)), 0.5 * content]))


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (OFFSET + a @ b.T) ** 2
