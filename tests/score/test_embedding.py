"""The space keeps the kernel's geometry, and items that come later fit in."""

from __future__ import annotations

import numpy as np
import pytest

from conrec.score.embedding import OFFSET, EmbeddingSpace
from conrec.sid.catalog import unit_rows


def items(n: int, seed: int = 0) -> tuple[list[dict[str, str]], np.ndarray]:
    rng = np.random.default_rng(seed)
    fields = [
        {"category": f"c{rng.integers(3)}", "material": f"m{rng.integers(4)}", "year": str(1990 + rng.integers(20))}
        for _ in range(n)
    ]
    return fields, unit_rows(rng.normal(size=(n, 6)))


def test_with_all_dimensions_distances_are_the_kernels() -> None:
    fields, content = items(40)
    space = EmbeddingSpace.fit(fields, content, np.arange(40), 40)
    points = space.of(fields, content).astype(float)
    z = unit_rows(np.hstack([unit_rows(space.encoder.encode(fields)), 0.5 * content])).astype(float)
    kernel = (OFFSET + z @ z.T) ** 2
    exact = np.diag(kernel)[:, None] + np.diag(kernel) - 2 * kernel
    own = ((points[:, None] - points) ** 2).sum(-1)
    scale = exact.sum() / own.sum()
    np.testing.assert_allclose(own * scale, exact, atol=0.02)
    assert points.std() == pytest.approx(1, abs=1e-3)


def test_a_pair_of_values_is_a_direction_of_its_own() -> None:
    """Disliked is exactly one combination of two values: linear in the space, not in the values."""
    fields = [{"material": f"m{n % 4}", "category": f"c{n // 4 % 4}"} for n in range(320)]
    content = np.zeros((320, 1), np.float32)
    wanted = np.array([(f["material"], f["category"]) == ("m1", "c2") for f in fields]) * 1.0

    def explained(x: np.ndarray) -> float:
        x = np.column_stack([np.ones(len(x)), x])
        left = wanted - x @ np.linalg.lstsq(x, wanted, rcond=None)[0]
        return 1 - float((left**2).sum() / ((wanted - wanted.mean()) ** 2).sum())

    space = EmbeddingSpace.fit(fields, content, np.arange(320), 24)
    assert explained(space.encoder.encode(fields)) < 0.5
    assert explained(space.of(fields, content)) > 0.95


def test_later_items_change_nothing_and_a_saved_space_is_the_same() -> None:
    fields, content = items(60)
    known = np.arange(30)
    space = EmbeddingSpace.fit(fields, content, known, 8)
    assert space.dimensions == 8
    other = [*fields[:30], *({"category": "new"} for _ in range(30))]
    again = EmbeddingSpace.fit(other, np.vstack([content[:30], content[30:] * 0]), known, 8)
    np.testing.assert_array_equal(space.of(fields[:30], content[:30]), again.of(fields[:30], content[:30]))
    restored = EmbeddingSpace.restore(space.state())
    np.testing.assert_array_equal(restored.of(fields, content), space.of(fields, content))
    assert space.of([], np.zeros((0, 6), np.float32)).shape == (0, 8)


def test_narrowed_to_where_users_differ_their_embeddings_stay_what_they_were() -> None:
    fields, content = items(200)
    wide = EmbeddingSpace.fit(fields, content, np.arange(200), 40)
    features = wide.of(fields, content).astype(float)
    rng = np.random.default_rng(1)
    embeddings = rng.normal(size=(500, 3)) @ rng.normal(size=(3, wide.dimensions))
    narrow = wide.narrowed(features, embeddings, 10)
    assert narrow.dimensions == 3  # there is no fourth direction
    points = narrow.of(fields, content).astype(float)
    wanted = features @ embeddings.T
    left = wanted - points @ np.linalg.lstsq(points, wanted, rcond=None)[0]
    assert np.abs(left).max() < 1e-2 * np.abs(wanted).max()
    sizes = points.std(axis=0)
    assert (np.diff(sizes) < 0).all()
    assert np.sqrt((sizes**2).mean()) == pytest.approx(1, abs=0.05)
    first = wide.narrowed(features, embeddings, 1).of(fields, content)
    # Alone the widest direction is the same one, only on a scale of its own.
    assert abs(np.corrcoef(first[:, 0], points[:, 0])[0, 1]) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("users", [0, 5])
def test_without_embeddings_the_leading_directions_of_the_items_are_left(users: int) -> None:
    fields, content = items(60)
    wide = EmbeddingSpace.fit(fields, content, np.arange(60), 20)
    features = wide.of(fields, content)
    narrow = wide.narrowed(features, np.zeros((users, wide.dimensions), np.float32), 4)
    np.testing.assert_allclose(narrow.of(fields, content), features[:, :4], atol=1e-5)
