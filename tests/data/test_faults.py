"""Logs with the faults that logs have, from the files through `prepare`: what is kept, what is dropped, what is said.

Times, quotes, ids and encodings cell by cell: adapters/test_columns.py, test_files.py and test_generic.py.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from conrec.config import DataConfig, Recipe, SplitConfig
from conrec.data.adapters.files import QUOTE
from conrec.data.images import Pictures, below
from conrec.errors import ConrecError
from conrec.stages.prepare import prepare
from tests.data.adapters.files_for_tests import write
from tests.jobs import job

RECIPE = Recipe(data=DataConfig("generic"), split=SplitConfig(horizon_days=3))
HEAD = "user_id,item_id,time,kind,comment"
ITEMS = "item_id,title,category\n" + "".join(f"i{i},Thing {i} {('blue', 'red')[i % 2]},c{i % 6}\n" for i in range(120))
ROWS = [
    f"u{u},i{(u * 7 + t * 11) % 120},{date(2026, 6, 1) + timedelta(t)}T12:00:00Z,"
    f"{'dislike' if (u + t) % 3 == 0 else 'exposure'},ok"
    for t in range(60)
    for u in range(40)
]
"""2,400 rows of 40 users on 60 days."""
JULY_30 = date(2026, 7, 30)
BROKEN_USER = "user id longer than 511 bytes, no UTF-8 text, or a number that was rounded"
BROKEN_ITEM = BROKEN_USER.replace("user", "item", 1)


def prepared(folder: Path, rows: list[str], items: str = ITEMS, encoding: str = "utf-8") -> Path:
    """The `prepare` folder of a log of these rows."""
    write(folder / "log" / "events.csv", "".join(f"{row}\n" for row in [HEAD, *rows]).encode(encoding))
    write(folder / "log" / "items.csv", items)
    out = folder / "prepare"
    prepare(job(folder, "prepare", RECIPE, out=out, data=folder / "log"))
    return out


def in_digits(row: str) -> str:
    return re.sub(r"(\d{4})-(\d\d)-(\d\d)T12:00:00Z", r"\1\2\3", row)


def unix(row: str, per_second: int) -> str:
    cells = row.split(",")
    cells[2] = f"{datetime.fromisoformat(cells[2]).timestamp() * per_second:.0f}"
    return ",".join(cells)


def changed(n: int, old: str, new: str) -> list[str]:
    assert old in ROWS[n]
    return [*ROWS[:n], ROWS[n].replace(old, new), *ROWS[n + 1 :]]


def at(row: str, user: str | None = None, item: str | None = None) -> str:
    cells = row.split(",")
    return ",".join([user or cells[0], item or cells[1], *cells[2:]])


@pytest.mark.parametrize(
    ("rows", "users", "dropped"),
    [
        pytest.param(changed(1900, ",ok", ',"too loud'), 40, {QUOTE: 1}, id="a quote late in the log"),
        pytest.param(changed(599, ",ok", ',"too loud'), 40, {QUOTE: 1}, id="and early"),
        pytest.param([in_digits(row) for row in ROWS], 40, {}, id="dates in digits"),
        pytest.param(
            [unix(row, 1 if n % 120 == 0 else 1000) for n, row in enumerate(ROWS)], 40, {}, id="seconds among ms"
        ),
        pytest.param(
            [at(row, {"u1": "nan", "u2": "NULL", "u3": "None"}.get(row.split(",")[0])) for row in ROWS],
            37, {"no user id": 180}, id="nobody",
        ),
        pytest.param(
            [*ROWS, *(at(row, "u\0", "a\0b") for row in ROWS[:3]), at(ROWS[-1], item="a")],
            40, {BROKEN_USER: 3, "unknown_item": 0}, id="NUL",
        ),
        pytest.param([*ROWS, at(ROWS[-1], item="x" * 600)], 40, {BROKEN_ITEM: 1}, id="600 bytes"),
        pytest.param(ROWS * 3, 40, {"duplicate": 4800}, id="each event three times"),
        pytest.param(
            [*ROWS, *(f"bot,i{n % 120},{ROWS[n % 2400].split(',')[2]},exposure,{n}" for n in range(20_000))],
            41, {"duplicate": 17_600}, id="a bot that repeats itself every 2,400 rows",
        ),
    ],
)  # fmt: skip
def test_what_is_kept_and_dropped(tmp_path: Path, rows: list[str], users: int, dropped: dict[str, int]) -> None:
    out = prepared(tmp_path, rows)
    account = json.loads((out / "accounting.json").read_text())
    assert account["dropped"] == {cause: n for cause, n in dropped.items() if n}
    assert (account["read"], account["kept"]) == (len(rows), len(rows) - sum(dropped.values()))
    events = pq.read_table(out / "events.parquet")
    assert len(set(events["user_id"].to_pylist())) == users
    days = [time.date() for time in events["time"].to_pylist()]
    assert (min(days), max(days)) == (date(2026, 6, 1), JULY_30)
    assert events["item_id"].to_pylist().count("a") == rows.count(at(ROWS[-1], item="a"))


def test_a_quote_in_the_catalogue_costs_its_own_item(tmp_path: Path) -> None:
    lines = [f"i{n},Thing {n},c{n % 6}" for n in range(700)]
    lines[619] = 'i619,"12 inch Thing,c1'
    out = prepared(tmp_path, ROWS, "item_id,title,category\n" + "\n".join(lines) + "\n")
    account = json.loads((out / "accounting.json").read_text())["items"]
    assert (account["read"], account["kept"], account["dropped"]) == (700, 699, {QUOTE: 1})
    titles = dict(zip(*(pq.read_table(out / "items.parquet")[name].to_pylist() for name in ("item_id", "title"))))
    assert titles == {f"i{n}": f"Thing {n}" for n in range(700) if n != 619}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda rows: [], "the log holds no events", id="a header alone"),
        pytest.param(
            lambda rows: [row.replace("dislike", "favorite") for row in rows], "no dislikes after cleaning", id="likes"
        ),
        pytest.param(lambda rows: rows[:2], "too little data", id="two events"),
        pytest.param(
            lambda rows: [row.replace(row.split(",")[2], "2026-06-01") for row in rows], "too little data",
            id="all at one time",
        ),
    ],
)  # fmt: skip
def test_too_little_to_learn_from_is_one_line(
    tmp_path: Path, change: Callable[[list[str]], list[str]], message: str
) -> None:
    with pytest.raises(ConrecError, match=message) as error:
        prepared(tmp_path, change(ROWS))
    assert "\n" not in str(error.value)


def test_users_that_look_alike_in_another_encoding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"u1": "René", "u2": "Renè", "u3": "Renê"}
    rows = [at(row, names.get(row.split(",")[0])) for row in ROWS]
    with pytest.raises(ConrecError, match=rf"row 2: user_id = 'Ren\ufffd': {BROKEN_USER}; 180 of 2400 rows"):
        prepared(tmp_path / "all", rows, encoding="latin-1")
    assert "events.csv: not all of it is UTF-8" in capsys.readouterr().err
    out = prepared(tmp_path / "few", [*ROWS, *rows[:10]], encoding="latin-1")
    account = json.loads((out / "accounting.json").read_text())
    assert account["dropped"] == {"duplicate": 7, BROKEN_USER: 3}
    names = set(pq.read_table(prepared(tmp_path / "utf8", rows) / "events.parquet")["user_id"].to_pylist())
    assert {"René", "Renè", "Renê"} <= names


def test_pictures_that_are_no_files_are_not_opened(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg", "x")
    write(tmp_path / "c.svg", "<svg/>")
    os.mkfifo(tmp_path / "b.png")  # who opens it waits for ever
    (tmp_path / "d.png").symlink_to("/dev/zero")
    (tmp_path / "e.png").symlink_to(tmp_path / "b.png")
    pictures = Pictures(tmp_path)
    outside = "picture outside the folder"
    assert [pictures.find([name]).cause for name in "abcde"] == [None, *["no picture"] * 2, outside, "no picture"]
    found = [below(tmp_path, name).cause for name in ("b.png", "d.png", "e.png", "/dev/zero", "pics/../../x.png")]
    assert found == ["no picture", outside, "no picture", outside, outside]
