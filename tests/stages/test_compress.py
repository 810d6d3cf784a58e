"""The compress stage on a small shop: what it writes, what it may not look at, and that it repeats itself."""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.csv import write_csv

from conrec.config import DataConfig, ItemsConfig, Recipe, SidConfig, SimulateConfig
from conrec.data.instances import Events
from conrec.data.schema import EVENTS, ITEMS
from conrec.errors import ConrecError
from conrec.features.prepared_log import PreparedLog
from conrec.items.encoders import JointEncoder
from conrec.items.image import HogEncoder
from conrec.items.swing import read_swing
from conrec.items.traits import TraitEncoder, read_traits
from conrec.sid.catalog import Catalog
from conrec.sid.codebook import load_model, make_catalog
from conrec.stages.compress import WORDS, compress, content_of
from conrec.stages.prepare import prepare
from conrec.stages.score import learn_score, read_history
from tests.items.test_encoders import shop
from tests.jobs import job

pytestmark = pytest.mark.slow

N = 240
DAY = 86_400_000_000
RECIPE = Recipe(sid=SidConfig(dimensions=16, epochs=20))


def write_prepared(folder: Path, mode: str = "time", seed: int = 0) -> None:
    """Items first seen on days 0 to 99, validation from day 80; three groups of users dislike a third each."""
    folder.mkdir()
    content, rng = shop(N), np.random.default_rng(seed)
    (folder / "images").mkdir()
    rows = []
    for n in range(N):
        picture, name = content.pictures[n], None
        if picture is not None and n % 2:
            name, picture = f"images/{n}.png", None
            (folder / name).write_bytes(bytes(content.pictures[n] or b""))
        rows.append(
            {
                "item_id": f"i{n}",
                "title": content.titles[n],
                "image": "../outside.png" if n == 3 else name,
                "image_bytes": b"broken" if n == 6 else picture,
                "category": content.fields[n]["category"],
                "attributes": [("price", content.fields[n]["price"])],
                "first_seen": n * 100 // N * DAY,
            }
        )
    (folder.parent / "outside.png").write_bytes(bytes(content.pictures[1] or b""))
    pq.write_table(pa.Table.from_pylist(rows, schema=ITEMS), folder / "items.parquet")
    events = []
    for n in range(900):
        user, day = int(rng.integers(0, 60)), int(rng.integers(20, 100))
        item = int(rng.integers(0, N // 3)) * 3 + user % 3
        kind = "dislike" if n % 3 else "click"
        events.append({"user_id": f"u{user}", "item_id": f"i{item}", "time": day * DAY + n, "kind": kind})
    pq.write_table(pa.Table.from_pylist(events, schema=EVENTS), folder / "events.parquet")
    split = {
        "mode": mode,
        "validation_start": "1970-03-22T00:00:00+00:00",
        "test_start": "1970-03-26T00:00:00+00:00",
        "log_end": "1970-04-01T00:00:00+00:00",
        "train_users": [f"u{n}" for n in range(30)],
        "validation_users": [],
        "test_users": [],
    }
    (folder / "split.json").write_text(json.dumps(split))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    home = tmp_path_factory.mktemp("run")
    write_prepared(home / "prepare")
    compress(job(home, "compress", RECIPE))
    return home / "prepare", home / "compress"


def test_what_it_writes(folders: tuple[Path, Path]) -> None:
    _, out = folders
    catalog = Catalog.load(out)
    assert catalog.item_ids == [f"i{n}" for n in range(N)]
    assert len(set(map(tuple, catalog.codes.tolist()))) == N
    embeddings = np.load(out / "embeddings.npy")
    assert embeddings.shape[0] == N
    assert embeddings.dtype == np.float32
    quality = json.loads((out / "quality.json").read_text())
    assert quality["learned_from"] == N * 8 // 10
    assert quality["collisions_after"]["items"] == 0
    assert quality["cosine_latent_after"] > 0.9
    assert [level["codes"] for level in quality["levels"]] == [64, 64, 64]
    assert 0 < quality["neighbours"]["overlap_reconstructed"] <= 1


def test_every_picture_is_accounted_for(folders: tuple[Path, Path]) -> None:
    images = json.loads((folders[1] / "images.json").read_text())
    assert images["items"] == N == images["used"] + images["missing"] + sum(images["refused"].values())
    assert images["refused"] == {"broken": 1}
    assert images["examples"] == {"broken": ["i6"]}
    assert images["missing"] == N // 3 - 1  # i3's path leads out of the folder: not followed, missing as before


def test_swing_knows_the_dislikes_of_training_only(folders: tuple[Path, Path]) -> None:
    prepared, out = folders
    neighbours = read_swing(out, [f"i{n}" for n in range(N)])
    events = pq.read_table(prepared / "events.parquet").to_pylist()
    early = {int(e["item_id"][1:]) for e in events if e["kind"] == "dislike" and e["time"].timestamp() < 80 * 86400}
    found = np.flatnonzero((neighbours >= 0).any(axis=1))
    assert len(found) > 20
    assert set(found.tolist()) <= early
    for item in found:
        near = neighbours[item][neighbours[item] >= 0]
        assert set(near.tolist()) <= early
        assert (near % 3 == item % 3).all()  # a group of users dislikes only its own third


def test_users_mode_learns_from_all_items_and_the_training_users(tmp_path: Path) -> None:
    write_prepared(tmp_path / "prepare", mode="users")
    compress(job(tmp_path, "compress", RECIPE))
    assert json.loads((tmp_path / "compress" / "quality.json").read_text())["learned_from"] == N
    events = pq.read_table(tmp_path / "prepare" / "events.parquet").to_pylist()
    theirs = {int(e["item_id"][1:]) for e in events if e["kind"] == "dislike" and int(e["user_id"][1:]) < 30}
    neighbours = read_swing(tmp_path / "compress", [f"i{n}" for n in range(N)])
    found = set(np.flatnonzero((neighbours >= 0).any(axis=1)).tolist())
    assert found
    assert found <= theirs


def test_what_comes_after_validation_began_changes_nothing_before(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """The future rewritten: other late items and events, the same codebook, the same early latents."""
    prepared, out = folders
    write_prepared(tmp_path / "prepare")
    items = pq.read_table(tmp_path / "prepare" / "items.parquet").to_pylist()
    for item in items[N * 8 // 10 :]:
        item |= {"title": "entirely different", "category": "unheard of", "image": None, "image_bytes": None}
    pq.write_table(pa.Table.from_pylist(items, schema=ITEMS), tmp_path / "prepare" / "items.parquet")
    events = pq.read_table(prepared / "events.parquet").to_pylist()
    events = [e for e in events if e["time"].timestamp() < 80 * 86400]
    pq.write_table(pa.Table.from_pylist(events, schema=EVENTS), tmp_path / "prepare" / "events.parquet")
    compress(job(tmp_path, "compress", RECIPE))
    mine, theirs = Catalog.load(tmp_path / "compress"), Catalog.load(out)
    np.testing.assert_allclose(mine.latents[: N * 8 // 10], theirs.latents[: N * 8 // 10], atol=1e-4)
    for a, b in zip(mine.codewords, theirs.codewords):
        np.testing.assert_allclose(a, b, atol=1e-4)
    np.testing.assert_array_equal(read_swing(tmp_path / "compress", mine.item_ids), read_swing(out, theirs.item_ids))


def test_the_frozen_parts_encode_the_same_items_the_same(folders: tuple[Path, Path]) -> None:
    prepared, out = folders
    x, _ = JointEncoder.load(RECIPE.items, out / "codebook").encode(
        content_of(pq.read_table(prepared / "items.parquet"), prepared)
    )
    catalog = Catalog.load(out)
    again, _ = make_catalog(load_model(out / "codebook"), catalog.item_ids, catalog.titles, x)
    np.testing.assert_array_equal(again.codes, catalog.codes)


def test_further_text_is_read_with_the_title_up_to_a_bound() -> None:
    rows = [{"item_id": "a", "title": "Boots", "text": " Red,\n with  laces "}, {"item_id": "b", "title": "Hat"}]
    rows.append({"item_id": "c", "title": "Book", "text": " ".join(["word"] * WORDS + ["unread"])})
    table = pa.Table.from_pylist(rows, schema=ITEMS)
    boots, hat, book = content_of(table, Path()).titles
    assert (boots, hat) == ("Boots Red, with laces", "Hat")
    assert book.split() == ["Book", *["word"] * WORDS]
    assert content_of(table.drop_columns(["text"]), Path()).titles == ["Boots", "Hat", "Book"]


def test_two_runs_write_the_same_bytes(folders: tuple[Path, Path], tmp_path: Path) -> None:
    compress(job(folders[0].parent, "compress", RECIPE, out=tmp_path))

    def digests(folder: Path) -> dict[str, str]:
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    assert digests(tmp_path) == digests(folders[1])


def test_k_means_alone_and_no_pictures(tmp_path: Path) -> None:
    write_prepared(tmp_path / "prepare")
    recipe = dataclasses.replace(RECIPE, items=ItemsConfig(image="none"), sid=SidConfig(method="kmeans", dimensions=8))
    compress(job(tmp_path, "compress", recipe))
    quality = json.loads((tmp_path / "compress" / "quality.json").read_text())
    assert quality["history"] == []
    assert quality["collisions_after"]["items"] == 0
    images = json.loads((tmp_path / "compress" / "images.json").read_text())
    assert images["ignored"] + images["missing"] == N


def test_too_few_items_is_one_clear_line(tmp_path: Path) -> None:
    write_prepared(tmp_path / "prepare")
    split = json.loads((tmp_path / "prepare" / "split.json").read_text())
    (tmp_path / "prepare" / "split.json").write_text(
        json.dumps(split | {"validation_start": "1970-01-03T00:00:00+00:00"})
    )
    with pytest.raises(ConrecError, match="at least 16 items first seen before validation, not 5"):
        compress(job(tmp_path, "compress", RECIPE))


def test_traits_are_learned_from_training_and_written_row_by_row(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    prepared, out = folders
    asked = list[tuple[np.ndarray, Events]]()
    monkeypatch.setattr(TraitEncoder, "fit", lambda _, content, ids, known, log: asked.append((known, log)))
    (tmp_path / "prepare").symlink_to(prepared)
    compress(job(tmp_path, "compress", dataclasses.replace(RECIPE, sid=SidConfig(method="kmeans", dimensions=8))))
    ((known, log),) = asked
    assert np.datetime64(79, "D") < log.times.max() < np.datetime64(80, "D")
    assert len(known) == N * 80 // 100
    traits = read_traits(out, N)
    assert len(traits) == N
    assert any("trait" in own for own in traits)
    # A later item goes through the encoder that was saved.
    content = content_of(pq.read_table(prepared / "items.parquet"), prepared)
    assert TraitEncoder.load(out / "codebook", HogEncoder(0)).encode(content) == traits


def test_without_traits_none_are_written(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "prepare").symlink_to(folders[0])
    compress(job(tmp_path, "compress", dataclasses.replace(RECIPE, items=ItemsConfig(traits=False))))
    assert not (tmp_path / "compress" / "traits.parquet").exists()
    embeddings = [np.load(folder / "embeddings.npy") for folder in (tmp_path / "compress", folders[1])]
    np.testing.assert_array_equal(*embeddings)


@pytest.mark.slow
def test_a_log_written_out_and_read_back_has_the_same_traits_and_the_same_score(tmp_path: Path) -> None:
    drawn, read, source = tmp_path / "drawn", tmp_path / "read", tmp_path / "log"
    platform = SimulateConfig(users=150, items=220, days=90, seed=3)
    recipe = Recipe(simulate=platform, sid=SidConfig(method="kmeans", dimensions=8))
    prepare(job(drawn, "prepare", recipe))
    shutil.copytree(drawn / "prepare" / "images", source / "images")
    items, events = (pq.read_table(drawn / "prepare" / f"{name}.parquet") for name in ("items", "events"))
    write_csv(items.select(["item_id", "title", "category", "image", "first_seen"]), source / "items.csv")
    write_csv(events, source / "events.csv")
    prepare(job(read, "prepare", dataclasses.replace(recipe, data=DataConfig("generic")), data=source))
    views, scores = [], []
    for run in (drawn, read):
        compress(job(run, "compress", recipe))
        views.append(PreparedLog(run / "prepare", run / "compress").view)
        learn_score(job(run, "score", recipe, out=run / "score"))
        score = read_history(run / "score")
        assert score is not None
        scores.append(score.state())
    assert views[0].fields == views[1].fields
    assert {name for own in views[0].fields for name in own} == {"category", "trait", "look"}
    cutoff, rows = np.datetime64("2026-05-01", "us"), np.arange(len(items))
    rates = [view.attribute_rates.mean(cutoff, rows) for view in views]
    np.testing.assert_array_equal(*rates)
    assert np.ptp(rates[0]) > 0.01
    assert scores[0].keys() == scores[1].keys()
    for name, value in scores[0].items():
        np.testing.assert_array_equal(value, scores[1][name], err_msg=name)
