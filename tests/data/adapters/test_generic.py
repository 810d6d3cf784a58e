"""Any log: the recipe's columns, kinds, reasons and 0/1 columns, in every file type, and what is said when it errs."""

import gzip
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conrec.config import DataConfig
from conrec.data.adapters import columns, generic
from conrec.data.adapters.files import QUOTE
from conrec.data.schema import INTEREST_REASONS, KINDS, REASONS
from conrec.data.sources import Tables
from conrec.errors import ConrecError
from tests.data.adapters.files_for_tests import item, rows, sound, write

EVENTS = """user_id,item_id,time,kind,reason,value
u1,a,2024-01-01T10:00:00Z,dislike,not_this_product,
u1,b,2024-01-01 11:00:00,click,,
u2,a,2024-01-02,exposure,,3.5
u2,c,2024-01-01T12:00:00+02:00,dislike,,
"""


def test_our_own_names(tmp_path: Path) -> None:
    write(tmp_path / "events.csv", EVENTS)
    write(
        tmp_path / "items.csv",
        "item_id,title,category,brand,text\na,Red\tboots,Shoes,X,So|red\nb,Hat,,,\nz,Listed only,,,\n",
    )
    log = sound(generic.read(tmp_path, DataConfig(), None))
    assert rows(log.events, "user_id", "item_id", "kind", "reason", "value") == [
        ("u1", "a", "dislike", "not_this_product", None),
        ("u1", "b", "click", None, None),
        ("u2", "a", "exposure", None, 3.5),
        ("u2", "c", "dislike", None, None),
    ]
    assert log.events["time"].to_pylist() == [
        datetime(2024, 1, 1, 10, tzinfo=UTC),
        datetime(2024, 1, 1, 11, tzinfo=UTC),
        datetime(2024, 1, 2, tzinfo=UTC),
        datetime(2024, 1, 1, 10, tzinfo=UTC),
    ]
    assert [i for (i,) in rows(log.items, "item_id")] == ["a", "b", "z", "c"]
    boots = item(log, "a")
    assert (boots["title"], boots["category"], boots["attributes"]) == ("Red boots", "Shoes", {"brand": "X"})
    assert (boots["text"], item(log, "b")["text"], item(log, "c")["text"]) == ("So|red", None, None)
    assert (item(log, "b")["category"], item(log, "b")["attributes"]) == (None, {})
    assert item(log, "c")["title"] == "c"


@pytest.mark.parametrize("name", ["events.csv", "events.csv.gz", "events.tsv", "events.tsv.gz", "events.parquet"])
def test_every_type_reads_the_same(tmp_path: Path, name: str) -> None:
    want = generic.read(write(tmp_path / "a" / "log.csv", EVENTS), DataConfig(), None)
    path = tmp_path / name
    if name.endswith(".parquet"):
        pq.write_table(pacsv.read_csv(tmp_path / "a" / "log.csv"), path)
    else:
        write(path, EVENTS.replace(",", "\t") if ".tsv" in name else EVENTS)
    for where in (path, tmp_path):
        log = sound(generic.read(where, DataConfig(), None))
        assert log.events.to_pylist() == want.events.to_pylist()
        assert log.items.to_pylist() == want.items.to_pylist()


def test_all_eight_reasons_and_all_kinds(tmp_path: Path) -> None:
    lines = [f"u,a,{n},dislike,{reason}" for n, reason in enumerate(REASONS)]
    lines += [f"u,a,{n},{kind}," for n, kind in enumerate(KINDS)]
    write(tmp_path / "events.csv", "user_id,item_id,time,kind,reason\n" + "\n".join(lines))
    log = sound(generic.read(tmp_path, DataConfig(), None))
    assert [r for (r,) in rows(log.events, "reason")] == [*REASONS, *([None] * len(KINDS))]
    assert [k for (k,) in rows(log.events, "kind")][len(REASONS) :] == list(KINDS)


def test_mapped_columns_kinds_and_codes(tmp_path: Path) -> None:
    write(
        tmp_path / "events.tsv",
        "buyer\tsku\tname\tat\taction\twhy\n"
        "1\t10\tBoots\t1700000000\thide\t7\n"
        "1\t11\tHat\t1700000001\tsearch\t0\n"
        "2\t10\tBoots!\t1700000002\tclick\t0\n"
        "2\t12\t\t1700000003\thide\t\n"
        "2\t12\t\t1700000004\tundislike\t\n",
    )
    config = DataConfig(
        columns={
            "user_id": "buyer",
            "item_id": "sku",
            "time": "at",
            "kind": "action",
            "reason": "why",
            "title": "name",
        },
        kinds={"hide": "dislike", "undislike": "undo", "search": "ignore"},
        reasons={"7": "bait_price", "0": "none"},
    )
    log = sound(generic.read(tmp_path, config, None))
    assert rows(log.events, "user_id", "item_id", "kind", "reason") == [
        ("1", "10", "dislike", "bait_price"),
        ("2", "10", "click", None),
        ("2", "12", "dislike", None),
        ("2", "12", "undo", None),
    ]
    assert log.accounting.to_json()["dropped"] == {"kind ignored by the recipe": 1}
    assert rows(log.items, "item_id", "title") == [("10", "Boots"), ("12", "12")]


def test_reason_columns_the_first_counts(tmp_path: Path) -> None:
    write(
        tmp_path / "events.csv",
        "user_id,item_id,time,fake,dull,not_this_store\nu,a,1,1,1,0\nu,b,2,0,true,1\nu,c,3,,0,1\nu,d,4,0,0,0\n",
    )
    config = DataConfig(
        reason_columns=("fake", "dull", "not_this_store"),
        reasons={"fake": "counterfeit", "dull": "not_this_product"},
    )
    log = sound(generic.read(tmp_path, config, None))
    assert rows(log.events, "item_id", "kind", "reason") == [
        ("a", "dislike", "counterfeit"),
        ("b", "dislike", "not_this_product"),
        ("c", "dislike", "not_this_store"),
        ("d", "exposure", None),
    ]
    with pytest.raises(ConrecError, match=r"unknown reason column 'dull'.*\[data\.reasons\] dull = "):
        generic.read(tmp_path, DataConfig(reason_columns=("dull",)), None)
    with pytest.raises(ConrecError, match=r"events\.csv: no column 'bored'"):
        generic.read(tmp_path, DataConfig(reason_columns=("bored",), reasons={"bored": "none"}), None)


def test_ratings_instead_of_kinds(tmp_path: Path) -> None:
    write(tmp_path / "events.csv", "user_id,item_id,time,stars\nu,a,1,1\nu,b,2,3\nu,c,3,5\n")
    config = DataConfig(dislike_at_most=2, like_at_least=4, columns={"value": "stars"})
    log = sound(generic.read(tmp_path, config, None))
    assert rows(log.events, "kind", "value") == [("dislike", 1.0), ("exposure", 3.0), ("favorite", 5.0)]
    with pytest.raises(ConrecError, match="nothing tells a dislike from the rest"):
        generic.read(tmp_path, DataConfig(columns={"value": "stars"}), None)


@pytest.mark.parametrize(
    ("config", "cell", "message"),
    [
        (DataConfig(), "hate,", r"row 3: unknown kind 'hate'; say in the recipe .*\[data\.kinds\] \"hate\" = "),
        (DataConfig(), "dislike,9", r"row 3: unknown reason '9'; say in the recipe .*\[data\.reasons\] \"9\" = "),
        (DataConfig(kinds={"hide": "dislike"}), "hate,", r"row 3: unknown kind 'hate'"),
    ],
)
def test_unknown_codes(tmp_path: Path, config: DataConfig, cell: str, message: str) -> None:
    lines = "u,a,1,click,\n" * 2 + f"u,a,1,{cell}\n" + "u,a,1,click,\n" * 2
    write(tmp_path / "events.csv", "user_id,item_id,time,kind,reason\n" + lines)
    with pytest.raises(ConrecError, match=message) as error:
        generic.read(tmp_path, config, None)
    assert "\n" not in str(error.value)
    assert "events.csv" in str(error.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DataConfig(columns={"user": "x"}), r"data\.columns\.user: no such column of ours"),
        (DataConfig(kinds={"x": "hate"}), r"data\.kinds\.x = 'hate'; allowed: dislike, exposure"),
        (DataConfig(reasons={"x": "hate"}), r"data\.reasons\.x = 'hate'; allowed: not_this_product"),
        (DataConfig(reason_columns=("a",), columns={"reason": "b"}), "exclude each other"),
        (DataConfig(columns={"user_id": "buyer"}), r"no column 'buyer'.*\[data\.columns\] user_id"),
        (DataConfig(columns={"title": "name"}), r"no column 'name', which the recipe's data\.columns\.title names"),
    ],
)
def test_recipes_that_cannot_be_meant(tmp_path: Path, config: DataConfig, message: str) -> None:
    write(tmp_path / "events.csv", EVENTS)
    with pytest.raises(ConrecError, match=message):
        generic.read(tmp_path, config, None)


def test_a_few_bad_rows_are_counted_and_many_are_an_error(tmp_path: Path) -> None:
    good = "".join(f"u,a,{1_700_000_000 + n},click,,1\n" for n in range(1000))
    bad = (
        ",a,1700000000,click,,\nu,,1700000000,click,,\nu,a,soon,click,,\nu,a,1700000000,click,,much\n"
        "u,a,1700000000,,,\nu,a,1700000000,click,counterfeit,\nu,a,1700000000\n"
    )
    write(tmp_path / "events.csv", "user_id,item_id,time,kind,reason,value\n" + good + bad)
    log = sound(generic.read(tmp_path, DataConfig(), None))
    assert log.accounting.to_json()["read"] == 1007
    assert log.accounting.dropped == {
        "no user id": 1,
        "no item id": 1,
        "time is neither ISO 8601 nor a Unix time": 1,
        "value is not a number": 1,
        "no kind": 1,
        "a reason, but no dislike": 1,
        "wrong number of cells": 1,
    }
    write(tmp_path / "events.csv", "user_id,item_id,time,kind,reason,value\n" + good + bad * 2)
    with pytest.raises(ConrecError, match=r"events\.csv: row 1001: user_id = '': no user id; 14 of 1014 rows"):
        generic.read(tmp_path, DataConfig(), None)


def test_a_catalogue_with_broken_rows(tmp_path: Path) -> None:
    write(tmp_path / "events.csv", EVENTS)
    lines = "".join(f"{i},t\n" for i in ["a", "b", "c", "a", *range(300)])
    write(tmp_path / "items.csv", "item_id,title\n" + lines + ",no id\n")
    log = sound(generic.read(tmp_path, DataConfig(), None))
    assert log.accounting.items is not None
    assert log.accounting.items.to_json() == {"read": 305, "kept": 303, "dropped": {"listed twice": 1, "no item id": 1}}


def test_wrong_paths(tmp_path: Path) -> None:
    with pytest.raises(ConrecError, match="nowhere: there is no such folder"):
        generic.read(tmp_path / "nowhere", DataConfig(), None)
    with pytest.raises(ConrecError, match=r"holds no events\.csv or .*events\.parquet"):
        generic.read(tmp_path, DataConfig(), None)
    with pytest.raises(ConrecError, match=r"log\.xlsx: unknown type; it must end in one of \.csv"):
        generic.read(write(tmp_path / "log.xlsx", "x"), DataConfig(), None)
    with pytest.raises(ConrecError, match=r"events\.csv: is empty"):
        generic.read(write(tmp_path / "events.csv", ""), DataConfig(), None)
    with pytest.raises(ConrecError, match=r"several columns 'time'"):
        generic.read(
            write(tmp_path / "events.csv", "user_id,item_id,time,time,kind\n1,2,3,4,click\n"), DataConfig(), None
        )
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(EVENTS.encode())[:40])
    with pytest.raises(ConrecError, match=r"x\.csv\.gz: cannot be read"):
        generic.read(tmp_path / "x.csv.gz", DataConfig(), None)


def test_parquet_types(tmp_path: Path) -> None:
    moments = [datetime(2024, 1, 1, 5), datetime(2024, 1, 2, 5)]
    events = {
        "user_id": pa.array([1.0, 2.0]),
        "item_id": pa.array([10, 11]).dictionary_encode(),
        "time": pa.array(moments, pa.timestamp("ns")),
        "kind": pa.array(["dislike", "click"]).dictionary_encode(),
        "reason": pa.array([3.0, None]),
        "value": pa.array([float("nan"), 2.0]),
    }
    pq.write_table(pa.table(events), tmp_path / "events.parquet")
    items = {
        "item_id": [10, 11],
        "title": ["a", "b"],
        "image": [b"\xff\xd8picture", b""],
        "price": [1.5, None],
        "first_seen": pa.array([moments[0].date(), None]),
        "embedding": [[1.0], [2.0]],
    }
    pq.write_table(pa.table(items), tmp_path / "items.parquet")
    log = sound(generic.read(tmp_path, DataConfig(reasons={"3": "bait_price"}), None))
    assert rows(log.events, "user_id", "item_id", "kind", "reason", "value") == [
        ("1", "10", "dislike", "bait_price", None),
        ("2", "11", "click", None, 2.0),
    ]
    assert log.events["time"].to_pylist() == [m.replace(tzinfo=UTC) for m in moments]
    ten = item(log, "10")
    assert (ten["image_bytes"], ten["attributes"]) == (b"\xff\xd8picture", {"price": "1.5"})
    assert ten["first_seen"] == datetime(2024, 1, 1, tzinfo=UTC)
    assert item(log, "11")["image_bytes"] is None


def test_pictures_stay_inside_their_folders(tmp_path: Path) -> None:
    log_folder, images = tmp_path / "log", tmp_path / "images"
    write(tmp_path / "secret.jpg", "secret")
    write(log_folder / "pics" / "b.png", "b")
    write(images / "c.jpg", "c")
    write(images / "deep" / "d.jpg", "d")
    write(log_folder / "notes.txt", "x")
    names = {"a": "../secret.jpg", "b": "pics/b.png", "c": "", "d": "deep/d.jpg", "e": str(tmp_path / "secret.jpg")}
    names |= {"f": "notes.txt", "g": "https://example.org/x.jpg", "../secret": ""}
    write(log_folder / "events.csv", "user_id,item_id,time,kind\n" + "".join(f"u,{i},1,click\n" for i in names))
    write(log_folder / "items.csv", "item_id,image\n" + "".join(f"{i},{n}\n" for i, n in names.items()))
    log = sound(generic.read(log_folder, DataConfig(), images))
    found = {i: Path(f).name for i, f in rows(log.items, "item_id", "image") if f}
    assert found == {"b": "b.png", "c": "c.jpg", "d": "d.jpg"}
    assert log.accounting.images is not None
    assert log.accounting.images.dropped == {"picture outside the folder": 2, "no picture": 3}


CELL = st.text(st.characters(blacklist_categories=("Cs",)), max_size=12)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_title_survives_as_one_line_of_text(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    titles = data.draw(st.lists(CELL, min_size=1, max_size=5))
    folder = tmp_path_factory.mktemp("log")
    quoted = ["" if not t else '"' + t.replace('"', '""') + '"' for t in titles]
    write(folder / "items.csv", "item_id,title\n" + "".join(f"{n},{t}\n" for n, t in enumerate(quoted)))
    write(
        folder / "events.csv", "user_id,item_id,time,kind\n" + "".join(f"u,{n},1,click\n" for n in range(len(titles)))
    )
    log = sound(generic.read(folder, DataConfig(), None))
    for n, title in enumerate(titles):
        got = item(log, str(n))["title"]
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in got)
        visible = "".join(c for c in title if not (ord(c) < 32 or 127 <= ord(c) < 160 or c.isspace()))
        called = "".join(got.split())
        assert called == visible or (called == str(n) and visible in columns.NO_TEXT.to_pylist())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(["", *INTEREST_REASONS])), min_size=1, max_size=30))
def test_read_is_kept_plus_dropped(tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]]) -> None:
    folder = tmp_path_factory.mktemp("log")
    lines = "".join(f"u,a,{n},{k},{r}\n" for n, (k, r) in enumerate(cells))
    write(folder / "events.csv", "user_id,item_id,time,kind,reason\n" + lines)
    stray = sum(k != "dislike" and r != "" for k, r in cells)
    if stray and (stray > columns.FEW or 2 * stray >= len(cells)):
        with pytest.raises(ConrecError, match="a reason, but no dislike"):
            generic.read(folder, DataConfig(), None)
        return
    log = sound(generic.read(folder, DataConfig(), None))
    assert log.accounting.read == len(cells)


def shop(tmp_path: Path, *changed: tuple[str, str]) -> Path:
    """A log of 2,400 rows (40 users, 60 days) and 120 items, after replacements in the text of its events."""
    first = datetime(2026, 6, 1, 12, tzinfo=UTC)
    lines = [
        f"u{u},i{(u * 7 + t * 11) % 120},{first + timedelta(t):%Y-%m-%dT%H:%M:%SZ},{KINDS[(u + t) % 3]},ok"
        for t in range(60)
        for u in range(40)
    ]
    text = "\n".join(["user_id,item_id,time,kind,comment", *lines, ""])
    for old, new in changed:
        text = text.replace(old, new)
    write(tmp_path / "items.csv", "item_id,title\n" + "".join(f"i{i},Thing {i}\n" for i in range(120)))
    write(tmp_path / "events.csv", text.encode("latin-1") if "é" in text else text)
    return tmp_path


UNTOLD = "item id longer than 511 bytes, no UTF-8 text, or a number that was rounded"


@pytest.mark.parametrize(
    ("changed", "users", "dropped"),
    [
        ([], 40, {}),
        ([("u3,i21,2026-06-01T12:00:00Z,dislike,ok", 'u3,i21,2026-06-01T12:00:00Z,dislike,"too loud')], 40, {QUOTE: 1}),
        ([("T12:00:00Z", " 12:00:00 UTC")], 40, {}),
        ([("u1,", "nan,"), ("u2,", "NULL,"), ("u3,", "None,"), ("u4,", " ,")], 36, {"no user id": 240}),
        ([(",i7,", ",a\0b,")], 40, {UNTOLD: 20}),
        ([(",i7,", ",1.23457E+11,")], 40, {UNTOLD: 20}),
        ([("T12:00:00Z", " 12:00:00.000 +0000 UTC")], 40, {}),
        ([(",i7,", f",{'a' * 512},")], 40, {UNTOLD: 20}),
        ([("u1,i18,2026-06-02T12:00:00Z", "u1,i18,0")], 40, {"time more than ten years from all others": 1}),
    ],
)
def test_what_strange_rows_become(tmp_path: Path, changed: list, users: int, dropped: dict) -> None:
    log = sound(generic.read(shop(tmp_path, *changed), DataConfig(), None))
    assert log.accounting.read == 2400
    assert log.accounting.dropped == dropped
    assert len(set(log.events["user_id"].to_pylist())) == users
    assert (min(log.events["time"].to_pylist()).date(), max(log.events["time"].to_pylist()).date()) == (
        date(2026, 6, 1),
        date(2026, 7, 30),
    )
    rejected = log.accounting.all_rejected().to_pylist()
    mine = [row for row in rejected if row["file"].endswith("events.csv")]
    assert Counter(row["cause"] for row in mine) == dropped
    text = (tmp_path / "events.csv").read_text().splitlines()
    assert all(not changed or any(new in text[row["row"]] for _, new in changed) for row in mine)
    for row in mine:
        values = dict(row["values"])
        cells = [values["line"]] if "line" in values else [values["user_id"], values["item_id"], values["time"]]
        assert text[row["row"]].startswith(",".join(cells))


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32()])
def test_numbers_that_a_float_has_rounded_are_no_ids(tmp_path: Path, kind: pa.DataType) -> None:
    exact = 2**53 if kind == pa.float64() else 2**24
    users = pa.array([float(exact - 1)] * 9 + [float(exact), float(2 * exact + 2), float("nan")], kind)
    times = pa.array([1_780_272_000 + n for n in range(12)])
    pq.write_table(pa.table({"user_id": users, "item_id": users, "time": times, "kind": ["dislike"] * 12}),
                   tmp_path / "events.parquet")  # fmt: skip
    log = sound(generic.read(tmp_path, DataConfig(), None))
    assert set(log.events["user_id"].to_pylist()) == {str(exact - 1)}
    assert sorted(log.accounting.dropped.values()) == [1, 2]


def test_times_of_listing_that_are_none_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "events.csv", EVENTS)
    write(tmp_path / "items.csv", "item_id,first_seen\na,20231201\nb,soon\nc,\nd,19700101\n")
    log = sound(generic.read(tmp_path, DataConfig(), None))
    assert [t and t.date() for (t,) in rows(log.items, "first_seen")] == [date(2023, 12, 1), None, None, None]
    assert "items.csv: first_seen: 2 of 4 are no times, or ten years from all others" in capsys.readouterr().err


JSON = """{"user_id": "u1", "item_id": 7, "time": 1704103200, "kind": "click", "more": {"a": [1]}}

{"item_id": 12345678901234567890, "user_id": "\\u00e9", "time": "2024-01-01T10:00:00Z", "kind": "click", "value": 3.50}
{"user_id": null, "item_id": 7, "time": 1704103200, "kind": "dislike"}
not json
{"kind": "dislike", "reason": "counterfeit", "user_id": "u2", "item_id": "7", "time": 1704103200000}
{"user_id": "u3", "item_id": "8", "time": 1704103200, "kind": "exposure"}
{"user_id": "u3", "item_id": "8", "time": 1704103200, "kind": "exposure"}
"""


@pytest.mark.parametrize("name", ["events.jsonl", "events.json.gz"])
def test_json_lines(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, "\ufeff" + JSON)
    write(
        tmp_path / "items.jsonl", '{"item_id": 7, "title": "Hat", "sizes": ["S", "M"], "new": true}\n{"item_id": 8}\n'
    )
    log = sound(generic.read(tmp_path, DataConfig(), None))
    assert rows(log.events, "user_id", "item_id", "kind", "reason", "value") == [
        ("u1", "7", "click", None, None),
        ("é", "12345678901234567890", "click", None, 3.5),
        ("u2", "7", "dislike", "counterfeit", None),  # the first with a reason
        *[("u3", "8", "exposure", None, None)] * 2,
    ]
    assert item(log, "7")["attributes"] == {"sizes": '["S", "M"]', "new": "true"}
    found = [(row["cause"], row["row"], dict(row["values"])) for row in log.accounting.all_rejected().to_pylist()]
    assert sorted(found)[0] == ("no JSON object", 4, {"line": "not json"})
    assert [(cause, row) for cause, row, _ in sorted(found)] == [("no JSON object", 4), ("no user id", 3)]
    with pytest.raises(ConrecError, match=r"x\.jsonl: holds no JSON objects; expected one a line"):
        generic.read(write(tmp_path / "x.jsonl", "[\n1\n]\n"), DataConfig(), None)


def test_several_files_are_one_log(tmp_path: Path) -> None:
    head, *lines = EVENTS.splitlines()
    write(tmp_path / "one" / "events.csv", EVENTS + ",a,1,click,,\n")
    for n, line in enumerate(lines):
        write(tmp_path / "many" / f"events-{n}.csv", f"{head}\n{line}\n")
    write(tmp_path / "many" / "events-9.jsonl", '{"item_id": "a", "time": 1, "kind": "click", "user_id": ""}\n' * 2
          + '{"item_id": "c", "time": "2024-01-05", "kind": "click", "user_id": "u9"}\n' * 3)  # fmt: skip
    items = "item_id,title\na,A\nb,B\nc,C\n"
    write(tmp_path / "one" / "items.csv", items)
    write(tmp_path / "many" / "items" / "1.csv", items)
    pq.write_table(pa.table({"item_id": [1], "size": [2.5]}), tmp_path / "many" / "items" / "2.parquet")
    one, many = (sound(generic.read(tmp_path / name, DataConfig(), None)) for name in ("one", "many"))
    assert many.events.slice(0, 4).to_pylist() == one.events.to_pylist()
    assert many.accounting.dropped == {"no user id": 2}
    assert [i for (i,) in rows(many.items, "item_id")] == ["a", "b", "c", "1"]
    assert item(many, "1")["attributes"] == {"size": "2.5"}


def test_a_query(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    want = generic.read(write(tmp_path / "days" / "1.csv", EVENTS), DataConfig(), None)
    write(tmp_path / "events.sql", "SELECT * FROM read_csv('days/*.csv', all_varchar = true)")
    log = sound(generic.read(tmp_path, DataConfig(), None))
    assert log.events.to_pylist() == want.events.to_pylist()
    with pytest.raises(ConrecError, match=r"events\.sql: a query cannot be a day; write its result into a file"):
        generic.read_day(Tables((tmp_path / "events.sql",)), DataConfig(), None)


TOKENS = [
    b'"',
    b'""',
    b",",
    b"\n",
    b"\r",
    b"\0",
    b"\xe9",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\x1a",
    b"NULL",
    b"1e999",
    b"{",
    b"\\ud800",
]


@settings(max_examples=150, deadline=None)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, 10**6), st.sampled_from(TOKENS), st.sampled_from([0, 1, 3, 50])), max_size=6
    ),
    name=st.sampled_from(["events.csv", "events.jsonl", "events.parquet"]),
)
def test_damage_is_an_error_or_accounted_for(tmp_path_factory: pytest.TempPathFactory, edits: list, name: str) -> None:
    folder = tmp_path_factory.mktemp("log")
    text = "user_id,item_id,time,kind,note\n" + "".join(
        f'u{n},i{n},{1780272000 + n},click,"a, ""b""\n"\n' for n in range(20)
    )
    if name == "events.jsonl":
        text = JSON * 3
    path = write(folder / name, text)
    if name == "events.parquet":
        table = {"user_id": ["u", "v"], "item_id": [1, 2], "time": [1, 2], "kind": ["click"] * 2}
        pq.write_table(pa.table(table), path, compression="none")
    content = path.read_bytes()
    for place, token, gone in edits:
        place %= len(content) + 1
        content = content[:place] + token + content[place + gone :]
    path.write_bytes(content)
    try:
        log = sound(generic.read(folder, DataConfig(), None))
    except ConrecError as error:
        said = str(error)
    else:
        assert len(log.accounting.all_rejected()) == log.accounting.dropped.total()
        return
    assert name in said
    assert "\n" not in said
    assert len(said) < 2000
