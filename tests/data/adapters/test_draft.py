"""What is recognised in logs as they are called elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from conrec.config import DataConfig
from conrec.data.adapters.draft import draft
from tests.data.adapters.files_for_tests import write


def of(tmp_path: Path, text: str, name: str = "x.csv") -> DataConfig:
    return draft([write(tmp_path / name, text)], [])


@pytest.mark.parametrize(
    ("head", "columns"),
    [
        ("user_id,item_id,time,kind", {}),
        ("userId,movieId,rating,timestamp", {"user_id": "userId", "item_id": "movieId", "time": "timestamp"}),
        ("User ID,Product ID,Created At", {"user_id": "User ID", "item_id": "Product ID", "time": "Created At"}),
        ("reviewer_id,parent_asin,asin,ts", {"user_id": "reviewer_id", "item_id": "parent_asin", "time": "ts"}),
        ("a,b,c", {}),
    ],
)
def test_columns(tmp_path: Path, head: str, columns: dict) -> None:
    found = of(tmp_path, head + "\n" + ",".join("1" for _ in head.split(",")) + "\n").columns
    assert {ours: theirs for ours, theirs in found.items() if ours in ("user_id", "item_id", "time")} == columns


@pytest.mark.parametrize(
    ("codes", "kinds"),
    [
        ("view click fav", {"view": "exposure", "fav": "favorite"}),
        ("view addtocart transaction", {"view": "click", "addtocart": "cart", "transaction": "purchase"}),
        ("pv buy cart fav", {"pv": "click", "buy": "purchase", "fav": "favorite"}),
        ("like unlike dislike", {"like": "favorite", "unlike": "ignore"}),
        ("Not Interested,impression", {"Not Interested": "dislike", "impression": "exposure"}),
        ("remove_from_cart cart", {"remove_from_cart": "ignore"}),
        ("thumbs_down thumbs-up", {"thumbs_down": "dislike", "thumbs-up": "favorite"}),
        ("blue green", {}),  # no kinds at all
        ("dislike foo", {"foo": "ignore"}),
    ],
)
def test_kinds(tmp_path: Path, codes: str, kinds: dict) -> None:
    rows = "".join(f"u,i,1,{code}\n" for code in codes.split("," if "," in codes else " "))
    assert of(tmp_path, "user,item,time,event\n" + rows).kinds == kinds


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        ("1 2 3 4 5", (2, 4)),
        ("0.5 1 1.5 2 2.5 3 3.5 4 4.5 5", (2, 4)),
        ("0 1", (0, 1)),
        ("-1 0 1", (-1, 1)),
        ("3", (None, None)),
        ("", (None, None)),
    ],
)
def test_thresholds(tmp_path: Path, values: str, limits: tuple) -> None:
    config = of(tmp_path, "user,item,time,stars\n" + "".join(f"u,i,1,{value}\n" for value in values.split()))
    assert (config.dislike_at_most, config.like_at_least) == limits


def test_kinds_and_reasons_come_before_values(tmp_path: Path) -> None:
    config = of(tmp_path, "user,item,time,kind,rating,reason\nu,i,1,dislike,1,counterfeit\nu,i,1,click,5,\n")
    assert config == DataConfig("generic", columns={"user_id": "user", "item_id": "item", "value": "rating"})
    config = of(tmp_path, "user,item,time,rating,why\nu,i,1,1,77\nu,i,1,5,\n")
    assert (config.columns.get("reason"), config.like_at_least) == (None, 5)


def test_items_tell_their_own_columns(tmp_path: Path) -> None:
    events = write(tmp_path / "e.csv", "user,sku,created_at,event,name\nu,1,1,like,Ann\n")
    items = write(tmp_path / "i.csv", "sku,name,created_at,description\n1,Hat,1,Warm\n")
    assert draft([events], [items]).columns == {
        "user_id": "user",
        "item_id": "sku",
        "time": "created_at",
        "kind": "event",
        "title": "name",
        "first_seen": "created_at",
        "text": "description",
    }
