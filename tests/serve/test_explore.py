"""What the page shows: pictures by id only, what was really shown, the catalogue by prefix."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conrec.filter.filter import OpenSnapshot
from conrec.filter.id_index import IdIndex, IdIndexWriter
from conrec.serve import explore
from conrec.serve.explore import Explorer, starting_with
from conrec.serve.exposures import Exposures, sample, trade_off
from conrec.serve.pictures import SIDE, Pictures
from conrec.serve.tree import Tree, words_of
from tests.serve.small import IDS, THRESHOLD, Client, publish, serving, wait_for_page, write_run


def index(folder: Path, ids: list[str]) -> IdIndex:
    writer = IdIndexWriter(folder)
    writer.add(ids)
    writer.finish()
    return IdIndex(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("explore") / "run")


@pytest.fixture(scope="module")
def client(run: Path) -> Iterator[Client]:
    publish(run.parent / "snapshots")
    with serving(run.parent / "snapshots", run=run) as client:
        wait_for_page(client)
        yield client


def test_pictures_from_files_and_from_bytes_are_re_encoded(run: Path, tmp_path: Path) -> None:
    pictures = Pictures([run / "prepare" / "items.parquet"])
    for item, size in (("i0", (SIDE * 4 // 5, SIDE)), ("i6", (30, 60))):
        jpeg = pictures.jpeg(item)
        assert jpeg is not None
        with Image.open(io.BytesIO(jpeg)) as image:
            assert (image.format, image.size) == ("JPEG", size)
    assert pictures.jpeg("i3") is None  # broken
    assert pictures.jpeg("i4") is None  # named, but not there
    assert pictures.jpeg("i9") is None  # none
    assert pictures.jpeg("../../run/recipe.toml") is None
    assert np.flatnonzero(pictures.named(index(tmp_path / "all", IDS))).tolist() == [0, 1, 2, 3, 4, 6]
    some = index(tmp_path / "some", ["new", "i9", "i6", "i0"])
    assert pictures.named(some).tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        ("i0", "image/jpeg"),
        ("i3", "image/svg+xml"),
        ("i9", "image/svg+xml"),
        ("../recipe.toml", "image/svg+xml"),
        ("images/0.png", "image/svg+xml"),
        ("/etc/passwd", "image/svg+xml"),
        ("\x00", "image/svg+xml"),
    ],
)
def test_a_picture_is_asked_for_by_id_and_is_a_picture(client: Client, item: str, kind: str) -> None:
    status, _, headers = client.ask("GET", f"/ui/picture?item={quote(item)}")
    assert (status, headers["content-type"], headers["x-content-type-options"]) == (200, kind, "nosniff")


@pytest.mark.parametrize(
    "path", ["/page/../app.py", "/page/..%2fapp.py", "/page/%2e%2e/app.py", "/page/none.js", "/page/"]
)
def test_only_files_of_the_page_are_served(client: Client, path: str) -> None:
    assert client.ask("GET", f"/page/{path}")[0] == 404


def test_the_latest_window_with_what_came_of_it(client: Client) -> None:
    shown = client.get("/ui/candidates?user=ann")
    assert (shown["source"], shown["since"], shown["until"]) == ("shown", "2026-03-09", "2026-03-12")
    assert [item["item_id"] for item in shown["items"]] == IDS[:20]
    outcomes = {item["item_id"]: item["outcome"] for item in shown["items"] if item["outcome"]}
    assert outcomes == {"i0": "disliked", "i6": "disliked", "i15": "disliked", "i5": "liked", "i12": "liked"}


def test_who_was_shown_nothing_gets_a_sample_that_stays(client: Client, tmp_path: Path) -> None:
    assert client.get("/ui/candidates?user=bob")["source"] == "sample"
    items = index(tmp_path / "index", IDS)
    assert sample(items, "bob") == sample(items, "bob")
    assert sample(items, "bob") != sample(items, "cleo")
    publish(tmp_path / "snapshots")
    with serving(tmp_path / "snapshots") as client:
        wait_for_page(client)
        about = client.get("/ui/about")
        assert (about["pictures"], about["report"], about["trade_off"]) == (False, False, None)
        shown = client.get("/ui/candidates?user=bob")
        assert (shown["source"], sorted(item["item_id"] for item in shown["items"])) == ("sample", sorted(IDS))
        assert client.ask("GET", "/report")[0] == 404
        assert client.get("/ui/users")["users"][0] == "ann"


def test_the_trade_off_is_that_of_the_replay(run: Path) -> None:
    measured = trade_off(run, 0)
    assert measured is not None
    assert measured["events"] == 20
    assert measured["threshold"] == THRESHOLD
    assert len(set(map(len, measured["curve"].values()))) == 1
    assert trade_off(run, 1) is None


def test_a_run_without_a_replay_shows_no_exposures(run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "run")
    (other / "filter" / "seed0" / "scores.parquet").unlink()
    assert Exposures(other, 0).users() == []
    assert Exposures(other, 0).of("ann") is None


def test_a_set_that_knows_the_outcome_says_so(run: Path, tmp_path: Path) -> None:
    for cutoff, known in (("2026-03-09T00:00:00.000000Z", False), ("2026-03-13T00:00:00.000000Z", True)):
        version = publish(tmp_path, made_from={"cutoff": cutoff})
        explorer = Explorer(OpenSnapshot(tmp_path / version), tmp_path, run)
        assert explorer.candidates("ann").known is known
        assert explorer.candidates("bob").known is False


def test_items_that_came_later_have_pictures_too(run: Path, tmp_path: Path) -> None:
    live = tmp_path / "live" / "day1"
    live.mkdir(parents=True)
    items = pq.read_table(run / "prepare" / "items.parquet").slice(0, 1)
    drawn = io.BytesIO()
    Image.new("RGB", (20, 20)).save(drawn, "PNG")
    items = items.set_column(3, items.schema.field(3), pa.array([drawn.getvalue()], pa.large_binary()))
    pq.write_table(items.set_column(0, items.schema.field(0), pa.array(["i9"])), live / "items.parquet")
    version = publish(tmp_path, made_from={"deltas": ["day1"]})
    pictures = Explorer(OpenSnapshot(tmp_path / version), tmp_path, run).pictures
    assert pictures is not None
    assert pictures.jpeg("i9") is not None
    assert pictures.jpeg("i0") is not None


def test_users_by_the_beginning_of_their_id(client: Client) -> None:
    assert client.get("/ui/users?q=an")["users"] == ["ann"]
    assert client.get("/ui/users?q=eve%2F")["users"] == ["eve/<b>&?#"]
    assert client.get("/ui/users?q=n")["users"] == []
    assert client.get("/ui/users")["users"] == ["ann"]  # whom the run can show


@given(st.lists(st.text(min_size=1, max_size=4), unique=True, max_size=30), st.text(max_size=3), st.integers(1, 5))
def test_the_search_of_ids_is_that_of_a_list(tmp_path_factory, ids: list[str], prefix: str, limit: int) -> None:
    folder = tmp_path_factory.mktemp("ids")
    writer = IdIndexWriter(folder)
    writer.add(ids)
    writer.finish()
    assert starting_with(folder, prefix, limit) == [item for item in ids if item.startswith(prefix)][:limit]


def test_the_search_of_ids_crosses_its_portions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explore, "AT_ONCE", 7)
    ids = [f"{('a', 'b')[n % 2]}{n}" for n in range(50)]
    writer = IdIndexWriter(tmp_path)
    writer.add(ids)
    writer.finish()
    for limit in (1, 5, 25, 30):
        assert starting_with(tmp_path, "a", limit) == [one for one in ids if one[0] == "a"][:limit]


def test_prefixes_tell_what_is_under_them(client: Client) -> None:
    top = client.get("/ui/catalogue")["prefixes"]
    assert [(node["prefix"], node["items"]) for node in top] == [([0], 8), ([1], 8), ([2], 8)]
    assert dict(top[0]["categories"]) == {"shoes": 0.5, "hats": 0.5}
    assert set(top[0]["examples"]) <= {"i0", "i1", "i2", "i3", "i4", "i6"}  # those with a picture
    inside = client.get("/ui/catalogue?prefix=0.1")
    assert inside["prefixes"] == []
    assert [item["item_id"] for item in inside["items"]] == ["i4", "i5", "i6", "i7"]
    assert client.get("/ui/catalogue?prefix=9") == {"prefixes": [], "items": []}
    assert client.ask("GET", "/ui/catalogue?prefix=0.x")[0] == 422


def test_words_that_set_a_prefix_apart() -> None:
    kinds = ("boots", "lamp", "chair", "mug")
    titles = [f"New {kind} 20{n}, {colour}" for kind in kinds for n, colour in enumerate(("red", "blue", "red"))]
    codes = np.array([[kind, n] for kind in range(4) for n in range(3)])
    nodes = Tree(codes, pa.array(titles), pa.nulls(12, pa.string())).children([])
    assert [node.words for node in nodes] == [[kind] for kind in kinds]
    assert nodes[0].categories == []


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=40))
def test_children_share_out_the_items(codes: list[tuple[int, int, int]]) -> None:
    titles = pa.array([f"title {n}" for n in range(len(codes))])
    tree = Tree(np.array(codes), titles, pa.nulls(len(codes), pa.string()))
    for prefix in ([], list(codes[0][:1])):
        rows = tree.rows(prefix)
        assert sorted(rows.tolist()) == [n for n, one in enumerate(codes) if list(one[: len(prefix)]) == prefix]
        assert sum(node.items for node in tree.children(prefix)) == len(rows)


def test_items_by_words_of_their_title(client: Client) -> None:
    assert [item["item_id"] for item in client.get("/ui/items?q=SHOE%2011")["items"]] == ["i11"]
    assert len(client.get("/ui/items?q=shoe")["items"]) == 12
    assert client.get("/ui/items?q=%20")["items"] == []
    assert client.ask("GET", "/ui/items")[0] == 422
    assert words_of("Größe 42, T-Shirt no. 7!") == {"größe", "shirt", "no"}


def test_trying_a_threshold_is_not_counted_as_traffic(client: Client) -> None:
    before = client.metrics()
    tried = client.post("/ui/decide", {"user": "ann", "candidates": IDS, "threshold": 0.99})
    assert tried["dropped"] == ["i0", "i1", "i6", "i7"]
    after = client.metrics()
    assert before["conrec_decisions_total"] == after["conrec_decisions_total"]


def test_the_report_is_shown_as_it_is(client: Client) -> None:
    status, body, headers = client.ask("GET", "/report")
    assert (status, b"The report" in body) == (200, True)
    assert "script-src" not in headers["content-security-policy"]
    assert headers["content-security-policy"].startswith("default-src 'none'")
