"""The compress stage on a small shop: what it writes, what it may not look at, and that it repeats itself."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conrec.config import ItemsConfig, Recipe, SidConfig
from conrec.data.schema import EVENTS, ITEMS
from conrec.errors import ConrecError
from conrec.items.encoders import JointEncoder
from conrec.items.swing import read_swing
from conrec.sid.catalog import Catalog
from conrec.sid.codebook import load_model, make_catalog
from conrec.stages.compress import compress, content_of
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
