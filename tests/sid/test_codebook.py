"""The RQ-VAE learns, is deterministic, and once frozen gives the same items the same codes."""

import dataclasses
import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from conrec.config import ItemsConfig, SidConfig
from conrec.errors import ConrecError
from conrec.items.encoders import Content, JointEncoder
from conrec.sid.catalog import Catalog
from conrec.sid.codebook import add_items, codebook_sizes, load_model, make_catalog, save_model
from conrec.sid.kmeans import assign, reconstruct
from conrec.sid.quality import level_use, mean_cosine
from conrec.sid.rqvae import EMA_DECAY, RqVae, decode, encode, train_rqvae

pytestmark = pytest.mark.slow

SMALL = SidConfig(dimensions=12, hidden=(32,), epochs=25)
SIZES = (16, 16, 16)


def embeddings(n: int = 600, seed: int = 0) -> np.ndarray:
    """float32 [n, 40] of length 1: a few factors, bent."""
    rng = np.random.default_rng(7)
    mix, bend = rng.normal(size=(10, 40)), rng.normal(size=(10, 40))
    factors = np.random.default_rng(seed).normal(size=(n, 10))
    x = factors @ mix + np.tanh(2 * factors) @ bend
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def trained() -> tuple[RqVae, list[dict[str, float]]]:
    return train_rqvae(embeddings(), SIZES, SMALL)


@pytest.fixture(scope="module")
def catalog(trained: tuple[RqVae, list[dict[str, float]]]) -> Catalog:
    ids = [f"i{n}" for n in range(600)]
    return make_catalog(trained[0], ids, [f"item {n}" for n in range(600)], embeddings())[0]


def rebuilt_error(model: RqVae, x: np.ndarray) -> float:
    words = model.codewords()
    hat = reconstruct(assign(encode(model, x), words), words)
    return float(((x - decode(model, hat)) ** 2).sum(axis=1).mean())


def test_training_beats_the_k_means_it_starts_from(trained: tuple[RqVae, list[dict[str, float]]]) -> None:
    x = embeddings()
    start, history = train_rqvae(x, SIZES, dataclasses.replace(SMALL, method="kmeans"))
    assert history == []
    assert rebuilt_error(trained[0], x) < rebuilt_error(start, x)
    assert len(trained[1]) == SMALL.epochs
    assert trained[1][-1]["quantisation"] < trained[1][0]["quantisation"]


def test_latents_are_centred_and_keep_their_dimensions(trained: tuple[RqVae, list[dict[str, float]]]) -> None:
    latents = encode(trained[0], embeddings())
    np.testing.assert_allclose(latents.mean(axis=0), 0, atol=1e-4)
    energy = np.linalg.svd(latents, compute_uv=False) ** 2
    assert 1 / ((energy / energy.sum()) ** 2).sum() > 5


def test_gradients_pass_the_quantiser_and_both_losses_reach_the_encoder() -> None:
    model = RqVae(40, SIZES, SMALL)
    x = torch.from_numpy(embeddings(64))
    for pick in (0, 1):
        model.zero_grad()
        rebuilt, commitment = model(x)
        ((x - rebuilt).square().sum(), commitment.sum())[pick].backward()
        gradient = model.encoder.straight.weight.grad
        assert gradient is not None
        assert gradient.abs().sum() > 0


def test_codebooks_follow_the_residuals_by_moving_averages() -> None:
    model = RqVae(40, (2,), SMALL)
    words = np.stack([np.full(12, -1.0), np.full(12, 1.0)]).astype(np.float32)
    model.set_codewords([words], [np.array([10, 10])], 1.0)
    latent = torch.cat([torch.full((10, 12), -2.0), torch.full((10, 12), 3.0)])
    model.quantiser.train()
    model.quantiser(latent)
    np.testing.assert_allclose(model.codewords()[0][:, 0], [EMA_DECAY - 2, 3 - 2 * EMA_DECAY], rtol=1e-4)


def test_two_trainings_give_identical_codes_and_leave_the_global_seed_alone(catalog: Catalog) -> None:
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    again, _ = train_rqvae(embeddings(), SIZES, SMALL)
    assert torch.equal(torch.rand(3), expected)
    other, _ = make_catalog(again, catalog.item_ids, catalog.titles, embeddings())
    np.testing.assert_array_equal(other.codes, catalog.codes)
    np.testing.assert_array_equal(other.reconstructed, catalog.reconstructed)


def test_the_catalogue_is_consistent(catalog: Catalog) -> None:
    assert len(set(map(tuple, catalog.codes.tolist()))) == 600
    total = sum(words[catalog.codes[:, level]] for level, words in enumerate(catalog.codewords))
    np.testing.assert_allclose(catalog.reconstructed, total, atol=1e-5)
    assert mean_cosine(catalog.latents, catalog.reconstructed) > 0.85


def test_the_goal_on_real_titles_and_genres(shared_data: Path) -> None:
    with gzip.open(shared_data / "movietweetings" / "movies.dat.gz", "rt", encoding="utf-8") as lines:
        films = [line.rstrip("\n").split("::") for line in lines]
    content = Content([f[1] for f in films], [{"genres": f[2]} for f in films], [None] * len(films))
    x, _ = JointEncoder(ItemsConfig(image="none")).fit_encode(content, np.arange(len(films)))
    config = SidConfig(epochs=8)
    model, _ = train_rqvae(x, codebook_sizes(len(x), config), config)
    catalog, _ = make_catalog(model, [f[0] for f in films], content.titles, x)
    assert mean_cosine(catalog.latents, catalog.reconstructed) > 0.9
    assert len(set(map(tuple, catalog.codes.tolist()))) == len(films)
    assert min(level["perplexity_per_code"] for level in level_use(catalog.codes, catalog.sizes)) > 0.5


def test_a_frozen_codebook_gives_the_same_items_the_same_codes(
    trained: tuple[RqVae, list[dict[str, float]]], catalog: Catalog, tmp_path: Path
) -> None:
    save_model(trained[0], SMALL, tmp_path)
    model = load_model(tmp_path)
    again, _ = make_catalog(model, catalog.item_ids, catalog.titles, embeddings())
    np.testing.assert_array_equal(again.codes, catalog.codes)

    new = embeddings(50, seed=5)
    ids = [f"new {n}" for n in range(50)]
    grown = add_items(catalog, model, ids, ids, new)
    assert len(grown) == 650
    np.testing.assert_array_equal(grown.codes[:600], catalog.codes)
    assert grown.titles[:600] == catalog.titles
    assert len(set(map(tuple, grown.codes.tolist()))) == 650
    assert (grown.item_ids, grown.titles[600:]) == (catalog.item_ids + ids, ids)
    # Where nobody was in the way, a new item has the code nearest to it.
    taken = set(map(tuple, catalog.codes.tolist()))
    raw = assign(encode(model, new), catalog.codewords)
    free = [n for n, sid in enumerate(raw.tolist()) if tuple(sid) not in taken]
    kept = sum((grown.codes[600 + n] == raw[n]).all() for n in free)
    assert kept >= len({tuple(raw[n].tolist()) for n in free}) > 0


@pytest.mark.parametrize(
    ("n", "codes"), [(16, 16), (63, 32), (600, 64), (2000, 64), (12_611, 256), (320_000, 8192), (10**7, 8192)]
)
def test_codebooks_are_sized_to_the_catalogue(n: int, codes: int) -> None:
    assert codebook_sizes(n, SidConfig()) == (codes,) * 3


def test_too_few_items_is_one_clear_line() -> None:
    with pytest.raises(ConrecError, match="at least 16 items"):
        codebook_sizes(9, SidConfig())
    with pytest.raises(ConrecError, match=r"sid\.codes = 256 needs at least 256 items"):
        codebook_sizes(100, SidConfig(codes=256))


def test_no_codebook_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConrecError, match="run the compress stage again"):
        load_model(tmp_path)
