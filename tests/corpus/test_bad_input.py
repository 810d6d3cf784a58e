"""Bad input, each with its right outcome: a row that is dropped is counted and kept with its cause, a file that cannot
be used is one line that names it, and nothing is a traceback or goes unsaid."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conrec.config import DataConfig, load_recipe
from conrec.data.adapters import generic
from conrec.data.clean import clean
from conrec.data.schema import Log
from conrec.errors import ConrecError
from tests.serve.small import Client, publish, serving

KEPT = "kept"
NO_USER, NO_ITEM = "no user id", "no item id"
BAD_USER, BAD_ITEM = (
    f"{what} id longer than 511 bytes, no UTF-8 text, or a number that was rounded" for what in ("user", "item")
)
NO_TIME, FAR, NO_NUMBER = (
    "time is neither ISO 8601 nor a Unix time",
    "time more than ten years from all others",
    "value is not a number",
)
NOTHING = ["", " ", "nan", "NaN", "NULL", "null", "Null", "None", "none", "None ", "NaT", "N/A", "#N/A", "\\N", "<NA>"]
NOTHING += ["(null)", "undefined"]
STRANGE = ["  x  ", "-1", "0", "1.0", "TRUE", "1e5", "12345678901234567890", "x" * 511, "é" * 255, "a b", "None1", "\\"]
STRANGE += ["../../etc/passwd", "</script>", "=cmd()", "\u202eevil", "e\u0301", "\u200b", "😀", "\ufeffu1", "%00", "?"]
STRANGE += ["<a_1>", "<|endoftext|>", "<|im_end|>", "'; DROP TABLE x;--", "a,b", "q''q", "i3", "{{x}}", "$(id)"]
NO_ID = ["x" * 512, "é" * 256, "1e+15", "1.2E+18", "a\0b", "u\0"]

COLUMNS = ("user_id", "item_id", "time", "kind", "reason", "value")
CELLS: list[tuple[str, str, str]] = [
    *(("user_id", cell, NO_USER) for cell in NOTHING),
    *(("item_id", cell, NO_ITEM) for cell in NOTHING),
    *((name, cell, KEPT) for name in ("user_id", "item_id") for cell in STRANGE),
    *(("user_id", cell, BAD_USER) for cell in NO_ID),
    *(("item_id", cell, BAD_ITEM) for cell in NO_ID),
    *(("time", cell, NO_TIME) for cell in ("", "nan", "NULL", "NaT", "inf", "yesterday", "10:00", "20.05.2026")),
    *(("time", cell, NO_TIME) for cell in ("05/20/2026", "2026-02-30", "2026-13-01", "2026-05-20T25:00:00Z")),
    *(("time", cell, NO_TIME) for cell in ("10000-01-01", "२०२६-०५-२०", "now()", "2026-05-20T10:00:00+99:00")),
    *(("time", cell, FAR) for cell in ("-1", "0", "1e9", "1970-01-01", "0001-01-01", "9999-12-31", "2036-06-01")),
    *(("time", cell, FAR) for cell in ("99999999999999999999", "1879-05-20", "2126-05-20")),
    *(("time", cell, KEPT) for cell in ("2026-05-20", "20260520", "2026/05/20", "2026-05-20 10:00:00", "2026-W20")),
    *(("time", cell, KEPT) for cell in ("2026-05-20 10:00:00 UTC", "2026-05-20T10:00:00+02:00", " 2026-05-20 ")),
    *(("time", cell, KEPT) for cell in ("2026-05-20T10:00:00.123456789Z", "1779271200", "1779271200.5")),
    *(("time", cell, KEPT) for cell in ("1779271200000", "1779271200000000", "1779271200000000000")),
    ("kind", "", "no kind"),
    *(("kind", cell, "undo") for cell in ("undo", " undo")),
    *(("kind", cell, KEPT) for cell in ("exposure", "favorite", "cart", "purchase", " dislike ")),
    *(("kind", cell, f"unknown kind {cell!r}") for cell in ("dislikes", "DISLIKE", "like", "ignore", "nan", "1", "☹")),
    *(("reason", cell, KEPT) for cell in ("not_this_product", "not_this_category", " ")),
    *(("reason", cell, f"reason_{cell}") for cell in ("counterfeit", "seen_or_bought", "bait_price")),
    *(("reason", cell, f"unknown reason {cell!r}") for cell in ("ugly", "NOT_THIS_PRODUCT", "none", "nan", "0")),
    *(("value", cell, NO_NUMBER) for cell in ("inf", "-inf", "1e400", "abc", "3,5", "0x10", "1_000", "٣", "TRUE")),
    *(("value", cell, NO_NUMBER) for cell in ("5/5", "--1", "1e", "1.2.3")),
    *(("value", cell, KEPT) for cell in ("", "nan", "3.5", "-0", "1e-400", " 4 ", "+4", ".5")),
]
"""A column, what stands in it in row 13 of a log that is right otherwise, and what becomes of that row."""


def rows(**cells: str) -> list[dict[str, str]]:
    """Twelve rows that are right, and one with these cells."""
    right = {"kind": "dislike", "reason": "", "value": "3"}
    return (
        [
            {"user_id": f"u{n % 4}", "item_id": f"i{n}", "time": f"2026-05-{n + 1:02}T10:00:00Z"}
            | (right | cells if n == 12 else right | {"kind": "dislike" if n % 2 else "click"})
            for n in range(13)
        ]
        if not {"user_id", "item_id", "time"} & cells.keys()
        else [
            *rows()[:12],
            rows()[12] | cells,
        ]
    )


def as_csv(table: list[dict[str, str]], separator: str = ",") -> str:
    """Cells that need it are quoted."""

    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if set(text) & {separator, '"', "\n"} else text

    return "".join(separator.join(map(cell, row)) + "\n" for row in [COLUMNS, *(row.values() for row in table)])


def read(folder: Path) -> Log:
    """The log as `prepare` reads and cleans it."""
    return clean(generic.read(folder, DataConfig("generic"), None))


def refused(folder: Path) -> str:
    """The error that a log in a folder is refused with: one line that names a file there, or the folder."""
    with pytest.raises(ConrecError) as error:
        read(folder)
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(("column", "cell", "outcome"), CELLS, ids=range(len(CELLS)))
def test_a_cell(tmp_path: Path, column: str, cell: str, outcome: str) -> None:
    (tmp_path / "events.csv").write_text(as_csv(rows(**{column: cell})), encoding="utf-8")
    if outcome.startswith("unknown"):
        assert f"events.csv: row 13: {outcome}" in refused(tmp_path)
        return
    log = read(tmp_path)
    account = log.accounting
    assert (account.read, account.kept) == (13, 13 if outcome == KEPT else 12), account.dropped
    assert len(log.events) == account.kept
    assert dict(account.dropped) == ({} if outcome == KEPT else {outcome: 1})
    rejected = account.all_rejected().to_pylist()
    assert [row["cause"] for row in rejected] == ([] if outcome == KEPT else [outcome])
    assert all(row.get("row") in (13, None) for row in rejected)


def whole(text: str | bytes) -> Callable[[Path], Any]:
    """events.csv with just this in it."""
    return lambda folder: (folder / "events.csv").write_bytes(text.encode() if isinstance(text, str) else text)


def parquet(**columns: Any) -> Callable[[Path], Any]:
    """events.parquet of a log that is right but for these columns."""
    right = {name: [row[name] for row in rows()] for name in ("user_id", "item_id", "time", "kind")}
    return lambda folder: pq.write_table(pa.table(right | columns), folder / "events.parquet")


GOOD = as_csv(rows())
LINES = GOOD.splitlines(keepends=True)
PACKED = gzip.compress(GOOD.encode())
BUFFER = io.BytesIO()
pq.write_table(pa.table({name: [row[name] for row in rows()] for name in COLUMNS}), BUFFER)
PARQUET = BUFFER.getvalue()

FILES: list[tuple[str, Callable[[Path], Any], str | int]] = [
    ("nothing", lambda folder: None, "holds no"),
    ("empty", whole(""), "empty"),
    ("blank", whole("\n\n\n"), "events.csv"),
    ("header", whole(LINES[0]), 0),
    ("no line end", whole(GOOD[:-1]), 13),
    ("bom", whole("\ufeff" + GOOD), 13),
    ("crlf", whole(GOOD.replace("\n", "\r\n")), 13),
    ("cr", whole(GOOD.replace("\n", "\r")), 13),
    ("blank lines", whole(GOOD.replace("\n", "\n\n")), 13),
    ("semicolons", whole(as_csv(rows(), ";")), 13),
    ("tabs", whole(as_csv(rows(), "\t")), 13),
    ("utf-16", whole(GOOD.encode("utf-16")), "UTF-16"),
    ("binary", whole(bytes(range(256)) * 20), "events.csv"),
    ("zeros", whole(b"\0" * 1000), "events.csv"),
    ("an image", whole(b"\x89PNG\r\n\x1a\n" + bytes(100)), "events.csv"),
    ("html", whole("<!doctype html><title>404</title>\n<p>not found"), "no column 'user_id'"),
    ("json in csv", whole(json.dumps(rows())), "no column 'user_id'"),
    ("latin-1", whole(GOOD.replace("u1", "Ren\u00e9").encode("latin-1")), 10),
    ("an open quote", whole("".join(LINES[:5]) + LINES[5].replace("u", '"u') + "".join(LINES[6:])), 12),
    ("short row", whole(GOOD + "u1,i1\n"), 13),
    ("long row", whole(GOOD + "u1,i1,2026-05-20,click,,3,4,5\n"), 13),
    ("two headers", whole(LINES[0] + GOOD), "unknown reason 'reason'"),
    ("a column twice", whole(GOOD.replace("item_id", "user_id")), "several columns 'user_id'"),
    ("no user_id", whole(GOOD.replace("user_id", "uid")), "no column 'user_id'"),
    ("no item_id", whole(GOOD.replace("item_id", "iid")), "no column 'item_id'"),
    ("no time", whole(GOOD.replace("time", "when")), "no column 'time'"),
    ("blanks in the header", whole(GOOD.replace("user_id", " user_id ")), 13),
    ("nothing tells dislikes", whole(GOOD.replace("kind", "k").replace("reason", "r")), "nothing tells a dislike"),
    ("half of it broken", whole(LINES[0] + "".join(LINES[1:7]) + ",,,,,\n" * 7), "7 of 13 rows cannot be used"),
    ("all broken", whole(LINES[0] + ",,,,,\n" * 20), "20 of 20 rows cannot be used"),
    ("each row twice", whole(GOOD + "".join(LINES[1:])), 13),
    ("gzip", lambda folder: (folder / "events.csv.gz").write_bytes(PACKED), 13),
    ("half a gzip", lambda folder: (folder / "events.csv.gz").write_bytes(PACKED[:-20]), "events.csv.gz"),
    ("no gzip", lambda folder: (folder / "events.csv.gz").write_bytes(GOOD.encode()), "events.csv.gz"),
    ("two gzips", lambda folder: (folder / "events.csv.gz").write_bytes(PACKED + gzip.compress(b"")), 13),
    ("a folder", lambda folder: (folder / "events.csv").mkdir(), "holds no"),
    ("a link to nowhere", lambda folder: (folder / "events.csv").symlink_to("gone"), "holds no"),
    ("another suffix", lambda folder: (folder / "events.xlsx").write_bytes(b"PK\3\4"), "holds no"),
    ("parquet", lambda folder: (folder / "events.parquet").write_bytes(PARQUET), 13),
    ("half a parquet", lambda folder: (folder / "events.parquet").write_bytes(PARQUET[:300]), "events.parquet"),
    ("no parquet", lambda folder: (folder / "events.parquet").write_bytes(b"PAR1"), "events.parquet"),
    ("a csv as parquet", lambda folder: (folder / "events.parquet").write_text(GOOD), "events.parquet"),
    (
        "damaged parquet",
        lambda folder: (folder / "events.parquet").write_bytes(PARQUET[:-60] + bytes(60)),
        "events.parquet",
    ),
    ("ids are numbers", parquet(user_id=list(range(13))), 13),
    ("ids are floats", parquet(user_id=[float(n) for n in range(13)]), 13),
    ("ids are lists", parquet(user_id=[["u"]] * 13), "user_id"),
    ("ids are missing", parquet(user_id=pa.nulls(13, pa.string())), "13 of 13 rows cannot be used"),
    ("times are missing", parquet(time=pa.nulls(13, pa.timestamp("us"))), "13 of 13 rows cannot be used"),
    ("times are true and false", parquet(time=[True, False] * 6 + [True]), "13 of 13 rows cannot be used"),
    ("kinds are numbers", parquet(kind=[1] * 13), "unknown kind '1'"),
    ("json lines", lambda folder: (folder / "events.jsonl").write_text("\n".join(map(json.dumps, rows()))), 13),
    (
        "half a json line",
        lambda folder: (folder / "events.jsonl").write_text("\n".join([*map(json.dumps, rows()), '{"us'])),
        13,
    ),
    ("no json", lambda folder: (folder / "events.jsonl").write_text("what?\n"), "events.jsonl"),
    ("empty json", lambda folder: (folder / "events.jsonl").write_text(""), "events.jsonl"),
    ("json of numbers", lambda folder: (folder / "events.jsonl").write_text("1\n2\n"), "events.jsonl"),
]
"""A name, what writes the log, and how many events are kept, or what the error says."""


@pytest.mark.parametrize(("write", "outcome"), [one[1:] for one in FILES], ids=[one[0] for one in FILES])
def test_a_file_of_events(tmp_path: Path, write: Callable[[Path], Any], outcome: str | int) -> None:
    write(tmp_path)
    if isinstance(outcome, str):
        assert outcome in refused(tmp_path)
    else:
        log = read(tmp_path)
        assert len(log.events) == outcome
        assert log.accounting.read == outcome + log.accounting.dropped.total()


def listed(text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / "items.csv").write_text(text, encoding="utf-8")


ITEM_LINES = [f"i{n},Thing {n},c{n % 3}\n" for n in range(13)]
ITEMS = "item_id,title,category\n" + "".join(ITEM_LINES)

CATALOGUES: list[tuple[str, Callable[[Path], Any], int | str, dict[str, int]]] = [
    ("right", listed(ITEMS), 13, {}),
    ("no title", listed(ITEMS.replace("title", "name")), 13, {}),
    ("no category", listed(ITEMS.replace("category", "kind of thing")), 13, {}),
    ("no id", listed(ITEMS.replace("item_id", "number")), "item", {}),
    ("header", listed("item_id,title,category\n"), 13, {}),
    ("empty", listed(""), "empty", {}),
    ("an item twice", listed(ITEMS + ITEM_LINES[0]), 13, {"listed twice": 1}),
    ("no item id", listed(ITEMS + ",Nobody,c\n"), 13, {NO_ITEM: 1}),
    ("null as item id", listed(ITEMS + "NULL,Nobody,c\n"), 13, {NO_ITEM: 1}),
    ("an id too long", listed(ITEMS + "x" * 512 + ",Long,c\n"), 13, {BAD_ITEM: 1}),
    ("a rounded id", listed(ITEMS + "1e+15,Long,c\n"), 13, {BAD_ITEM: 1}),
    ("an id with a zero byte", listed(ITEMS + "a\0b,Long,c\n"), 13, {BAD_ITEM: 1}),
    ("a short row", listed(ITEMS + "i99\n"), 13, {"wrong number of cells": 1}),
    ("a long row", listed(ITEMS + "i99,a,b,c,d\n"), 13, {"wrong number of cells": 1}),
    ("an open quote", listed(ITEMS + 'i99,"12 inch,c\n'), 13, {"wrong number of cells": 1}),
    ("an item of no event", listed(ITEMS + "i99,Dust,c\n"), 14, {}),
    ("a title of markup", listed(ITEMS.replace("Thing 3", "<script>alert(1)</script>")), 13, {}),
    ("a title of tokens", listed(ITEMS.replace("Thing 3", "<a_1><b_2><|im_end|>")), 13, {}),
    ("a title of blanks", listed(ITEMS.replace("Thing 3", "   ")), 13, {}),
    ("a long title", listed(ITEMS.replace("Thing 3", "y" * 100_000)), 13, {}),
    ("a picture outside", listed(ITEMS.replace("title,", "image,").replace("Thing 3", "../../etc/passwd")), 13, {}),
    ("a picture at the root", listed(ITEMS.replace("title,", "image,").replace("Thing 3", "/etc/passwd")), 13, {}),
    ("first seen never", listed(ITEMS.replace("category", "first_seen").replace("c1", "")), 13, {}),
]


@pytest.mark.parametrize(
    ("write", "outcome", "dropped"), [one[1:] for one in CATALOGUES], ids=[one[0] for one in CATALOGUES]
)
def test_a_catalogue(tmp_path: Path, write: Callable[[Path], Any], outcome: int | str, dropped: dict[str, int]) -> None:
    (tmp_path / "events.csv").write_text(GOOD)
    write(tmp_path)
    if isinstance(outcome, str):
        assert outcome in refused(tmp_path)
        return
    log = read(tmp_path)
    account = log.accounting
    assert account.items is not None
    assert len(log.items) == account.items.kept == outcome
    assert dict(account.items.dropped) == dropped
    assert account.images is None or not set(log.items["image"].drop_null().to_pylist())
    assert max(map(len, log.items["title"].to_pylist())) <= 2000


RECIPES = [
    ("", None),
    ("\ufeffname = 'x'", "not valid TOML"),
    ("name = ", "not valid TOML"),
    ("name = 'a'\nname = 'b'", "not valid TOML"),
    ("[data", "not valid TOML"),
    ("\0", "not valid TOML"),
    ("{}", "not valid TOML"),
    ("<html>", "not valid TOML"),
    ("name = 7", "name = 7"),
    ("name = []", "name = []"),
    ("Name = 'x'", "unknown key Name"),
    ("[datas]", "unknown key datas"),
    ("[data.kinds]\n0 = 1", "data.kinds"),
    ("[data]\nadapter = 'csv'", "data.adapter = 'csv'"),
    ("[data]\nadapter = ''", "data.adapter = ''"),
    ("[data]\nadapter = 3", "data.adapter = 3"),
    ("[data]\ndislike_at_most = 'low'", "data.dislike_at_most = 'low'"),
    ("[data]\ndislike_at_most = inf", "data.dislike_at_most = inf"),
    ("[data]\nlike_at_least = -1e300", "data.like_at_least"),
    ("[data]\nmin_user_dislikes = 1.5", "data.min_user_dislikes = 1.5"),
    ("[data]\nreason_columns = 'a'", "data.reason_columns = 'a'"),
    ("[simulate]\nusers = -1", "simulate.users = -1"),
    ("[simulate]\nusers = 1e3", "simulate.users = 1000.0"),
    ("[simulate]\nitems = 10000000000", "simulate.items = 10000000000"),
    ("[simulate]\nexposures_per_day = 0", "simulate.exposures_per_day = 0"),
    ("[simulate]\nattribute_columns = 1", "simulate.attribute_columns = 1"),
    ("[split]\nhorizon_days = 0", "split.horizon_days = 0"),
    ("[split]\nhorizon_days = -7", "split.horizon_days = -7"),
    ("[split]\nvalidation_from = 1.0", "split.validation_from = 1.0"),
    ("[split]\nvalidation_from = -0.1", "split.validation_from = -0.1"),
    ("[split]\ntest_from = inf", "split.test_from = inf"),
    ("[split]\nfold = -1", "split.fold = -1"),
    ("[split]\npool = 'some'", "split.pool = 'some'"),
    ("[split]\nmax_dislikes = 0", "split.max_dislikes = 0"),
    ("[items]\ntext = 3", "items.text = 3"),
    ("[items]\nimage_weight = -1", "items.image_weight = -1"),
    ("[items]\nfields_weight = inf", "items.fields_weight = inf"),
    ("[items]\ntraits = 'yes'", "items.traits = 'yes'"),
    ("[sid]\nmethod = 'hash'", "sid.method = 'hash'"),
    ("[sid]\nlevels = -1", "sid.levels = -1"),
    ("[sid]\nlevels = 27", "sid.levels = 27"),
    ("[sid]\ncodes = -256", "sid.codes = -256"),
    ("[sid]\nhidden = 128", "sid.hidden = 128"),
    ("[sid]\nlearning_rate = -0.1", "sid.learning_rate = -0.1"),
    ("[lm]\nhidden = 0", "lm.hidden = 0"),
    ("[lm]\nkv_heads = 3", "heads of kv_heads"),
    ("[lm]\ndtype = 'float16'", "lm.dtype = 'float16'"),
    ("[lm]\nlora_rank = -4", "lm.lora_rank = -4"),
    ("[understand]\nalignment_held_out = 1.0", "understand.alignment_held_out = 1.0"),
    ("[understand]\ntranslation_epochs = inf", "understand.translation_epochs = inf"),
    ("[understand]\nrow_tokens = 0", "understand.row_tokens = 0"),
    ("[utilize]\nstages = 3", "utilize.stages = 3"),
    ("[utilize]\nstages = [3]", "utilize.stages[0] = 3"),
    ("[[utilize.stages]]\nbeta = -1", "utilize.stages[0].beta = -1"),
    ("[utilize]\nepsilon = 0", "utilize.epsilon = 0"),
    ("[utilize]\nhistory_dropout = -0.5", "utilize.history_dropout = -0.5"),
    ("[predict]\nk = 0", "predict.k = 0"),
    ("[predict]\nbeams = 0", "predict.beams = 0"),
    ("[predict]\nprior_days = 0", "predict.prior_days = 0"),
    ("[predict]\ntemperatures = [-1.0]", "predict.temperatures[0] = -1.0"),
    ("[predict]\nprior = false\nfeatures = []", "nothing is left to predict by"),
    ("[filter]\nlikes_lost = 0", "filter.likes_lost = 0"),
    ("[filter]\nlikes_lost = nan", "filter.likes_lost = nan"),
    ("[filter]\nthreshold = inf", "filter.threshold = inf"),
    ("[filter]\nscore = 'paper'", "unknown key filter.score; known here: likes_lost, threshold"),
    ("[evaluate]\nbootstrap = 0", "evaluate.bootstrap = 0"),
]


def test_recipes(tmp_path: Path) -> None:
    for text, said in RECIPES:
        (tmp_path / "r.toml").write_text(text, encoding="utf-8")
        if said is None:
            load_recipe(tmp_path / "r.toml")
            continue
        with pytest.raises(ConrecError) as error:
            load_recipe(tmp_path / "r.toml")
        assert said in str(error.value), text
        assert str(error.value).startswith(str(tmp_path))
        assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    snapshots = tmp_path_factory.mktemp("corpus") / "snapshots"
    publish(snapshots)
    with serving(snapshots, max_candidates=100, max_batch=3, max_body=8192) as client:
        yield client


FILTER, BATCH, EVENTS, DISLIKES, UNDO = (
    "/v1/filter",
    "/v1/filter/batch",
    "/v1/events",
    "/v1/users/ann/dislikes",
    "/v1/users/ann/undo",
)
SOMEBODY = {"user": "ann", "candidates": ["i0"]}
BODIES: list[tuple[str, Any, int]] = [
    *((path, b"", 400) for path in (FILTER, BATCH, EVENTS, DISLIKES, UNDO)),
    *((path, b"{", 400) for path in (FILTER, BATCH, EVENTS, DISLIKES, UNDO)),
    *((path, b"\xff\xfe{}", 400) for path in (FILTER, BATCH, EVENTS, DISLIKES, UNDO)),
    *((path, b"[" * 5000, 422) for path in (FILTER, BATCH, EVENTS, DISLIKES, UNDO)),
    *((path, body, 422) for path in (FILTER, BATCH, EVENTS, DISLIKES, UNDO) for body in ([], None, 3, "x", True, {})),
    *((path, b" " * 9000, 413) for path in (FILTER, BATCH, EVENTS, DISLIKES, UNDO)),
    *((FILTER, SOMEBODY | change, 422) for change in ({"user": None}, {"user": 3}, {"user": ""}, {"user": ["ann"]})),
    *((FILTER, SOMEBODY | change, 422) for change in ({"candidates": None}, {"candidates": "i0"}, {"candidates": [1]})),
    *((FILTER, SOMEBODY | change, 422) for change in ({"candidates": [None]}, {"candidates": {}}, {"surprise": 1})),
    *((FILTER, SOMEBODY | change, 422) for change in ({"threshold": "0.5"}, {"threshold": True}, {"threshold": []})),
    *((FILTER, SOMEBODY | change, 422) for change in ({"want": -1}, {"want": 1.5}, {"want": "2"}, {"replace": 1})),
    *((FILTER, SOMEBODY | change, 422) for change in ({"dry_run": "yes"}, {"candidates": ["i0"] * 101})),
    (FILTER, b'{"user": "ann", "candidates": [], "threshold": NaN}', 400),
    (FILTER, b'{"user": "ann", "candidates": [], "threshold": Infinity}', 400),
    (FILTER, b'{"user": "ann", "candidates": [], "threshold": 1e999}', 422),
    (FILTER, b'{"user": "\\ud800", "candidates": []}', 400),
    (FILTER, b'{"user": "ann", "candidates": ["i0"]} {}', 400),
    (FILTER, b'{"user": "ann", "user": "bob", "candidates": ["i0"]}', 200),
    *(
        (FILTER, SOMEBODY | change, 200)
        for change in ({"candidates": []}, {"candidates": [""]}, {"candidates": ["\0"]})
    ),
    *(
        (FILTER, SOMEBODY | change, 200)
        for change in ({"user": "x" * 5000}, {"user": "\0"}, {"user": "../x"}, {"want": 0})
    ),
    *(
        (FILTER, SOMEBODY | change, 200)
        for change in ({"candidates": ["i0"] * 100}, {"threshold": -1e308}, {"want": 10**9})
    ),
    (BATCH, {"requests": []}, 200),
    (BATCH, {"requests": [SOMEBODY] * 3}, 200),
    (BATCH, {"requests": [SOMEBODY] * 4}, 422),
    (BATCH, {"requests": [SOMEBODY, {}]}, 422),
    (BATCH, {"requests": [SOMEBODY | {"candidates": ["i0"] * 60}] * 2}, 422),
    *((path, {"item": item}, 422) for path in (DISLIKES, UNDO) for item in (None, 3, [], {})),
    (DISLIKES, {"item": "x" * 512}, 422),
    (UNDO, {"item": "x" * 512}, 404),
    *(
        (DISLIKES, {"item": "i3"} | change, 422)
        for change in ({"reason": "ugly"}, {"reason": 1}, {"time": "yesterday"})
    ),
    *((DISLIKES, {"item": "i3"} | change, 422) for change in ({"time": "2126-01-01T00:00:00Z"}, {"time": 5}, {"x": 1})),
    *(
        (DISLIKES, {"item": "i3"} | change, 422)
        for change in ({"time": "1969-12-31T00:00:00Z"}, {"time": "10000-01-01"})
    ),
    (UNDO, {"item": "i3"}, 404),
    (UNDO, {"item": "no such"}, 404),
    (EVENTS, {"events": []}, 200),
    (EVENTS, {"events": [{"user": "a", "item": "i1", "id": "x" * 512}]}, 422),
    (EVENTS, {"events": [{"user": "", "item": "i1", "id": "1"}]}, 422),
    (EVENTS, {"events": [{"user": "a", "item": "i1", "id": "1", "kind": "click"}]}, 422),
    (EVENTS, {"events": [{"user": "a", "item": "i1", "id": "1", "kind": "undo", "reason": "counterfeit"}]}, 422),
    (EVENTS, {"events": {"user": "a", "item": "i1"}}, 422),
]


def test_bodies(client: Client) -> None:
    for path, body, status in BODIES:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        found, answer, _ = client.ask("POST", path, sent)
        assert found == status, (path, body, answer)
        assert status == 200 or (set(answer) == {"error"} and "\n" not in answer["error"]), (path, body, answer)
    assert client.filter("ann", ["i0"])["fail_open"] is None
    counted = client.metrics()
    assert not any('status="5' in name for name in counted)
    assert sum(value for name, value in counted.items() if name.startswith("conrec_fail_open_total")) == 0


def test_there_are_enough_of_them() -> None:
    assert len(CELLS) + len(FILES) + len(CATALOGUES) + len(RECIPES) + len(BODIES) >= 300
