"""The quality report's figures, against small cases worked by hand."""

import numpy as np
import pytest

from conrec.sid.quality import collisions, level_use, mean_cosine, neighbourhoods, quality_report


def test_perplexity_counts_codes_in_even_use() -> None:
    codes = np.array([[0, 0], [1, 0], [2, 0], [3, 0]], np.int32)
    even, single = level_use(codes, (8, 4))
    assert even == pytest.approx({"codes": 8, "used": 0.5, "perplexity": 4.0, "perplexity_per_code": 0.5})
    assert single == pytest.approx({"codes": 4, "used": 0.25, "perplexity": 1.0, "perplexity_per_code": 0.25})


def test_collisions_count_everybody_who_shares() -> None:
    codes = np.array([[0, 0], [0, 0], [0, 0], [1, 0], [1, 1]], np.int32)
    assert collisions(codes) == {"items": 3, "share": 0.6, "largest": 3}


def test_mean_cosine_of_rows() -> None:
    a = np.array([[1, 0], [0, 2], [0, 0]], np.float32)
    b = np.array([[3, 0], [0, -1], [1, 1]], np.float32)
    assert mean_cosine(a, b) == pytest.approx(0.0)
    assert mean_cosine(a[:1], b[:1]) == pytest.approx(1.0)


def test_neighbourhoods_see_what_was_lost() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 20)).astype(np.float32)
    assert neighbourhoods(x, x, x) == {"overlap_latent": 1.0, "overlap_reconstructed": 1.0}
    lost = neighbourhoods(x, x, rng.normal(size=(300, 20)).astype(np.float32))
    assert lost["overlap_latent"] == 1.0
    assert lost["overlap_reconstructed"] < 0.2


def test_a_collapsed_latent_shows_as_few_effective_dimensions() -> None:
    rng = np.random.default_rng(0)
    line = (rng.normal(size=(100, 1)) @ rng.normal(size=(1, 6))).astype(np.float32)
    full = rng.normal(size=(100, 6)).astype(np.float32)
    words = [rng.normal(size=(8, 6)).astype(np.float32) for _ in range(2)]
    codes = rng.integers(0, 8, (100, 2)).astype(np.int32)
    effective = []
    for latents in (line, full):
        report = quality_report(latents, latents, codes, codes, words, latents)
        assert report["cosine_input_after"] == pytest.approx(1, abs=1e-5)
        effective.append(report["effective_dimensions"])
    assert effective[0] < 1.1 < 5 < effective[1]
