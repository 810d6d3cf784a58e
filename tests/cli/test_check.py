"""`conrec check`: what is said of a log, and that the drafted recipe reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from conrec.cli.main import main
from conrec.config import load_recipe
from conrec.data.adapters import generic
from conrec.data.sources import Tables
from tests.data.adapters.files_for_tests import write

ITEMS = "id\tproduct_title\tgenres\tbrand\n" + "".join(f"{n}\tThing {n}\tg{n % 3}\tb\n" for n in range(50))


def shop(folder: Path) -> tuple[Path, Path]:
    kinds = ["view", "addtocart", "transaction", "hide", "search"]
    rows = [f"v{n % 40},{kinds[n % 5]},{n % 49},{1_780_272_000_000 + n * 60_000}" for n in range(500)]
    rows += ["x,view,1", "NULL,view,1,1780272000000"]
    events = write(folder / "log.csv", "visitorid,event_type,product_id,timestamp\n" + "\n".join(rows) + "\n")
    return events, write(folder / "catalogue.tsv", ITEMS)


def test_the_draft_reads_the_log_and_the_account_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events, items = shop(tmp_path)
    assert main(["check", str(events), str(items)]) == 0
    said = capsys.readouterr()
    recipe = write(tmp_path / "shop.toml", said.out)
    config = load_recipe(recipe).data
    assert config.columns == {
        "user_id": "visitorid",
        "item_id": "product_id",
        "time": "timestamp",
        "kind": "event_type",
        "title": "product_title",
        "category": "genres",
    }
    assert config.kinds == {
        "view": "click",
        "addtocart": "cart",
        "transaction": "purchase",
        "hide": "dislike",
        "search": "ignore",
    }
    log = generic.read(Tables((events,), (items,)), config, None)
    assert (log.accounting.read, log.accounting.kept) == (502, 400)
    for line in (
        "# events: 502 rows read, ",
        "#   100 left out: kind ignored by the recipe",
        "#   1 left out: wrong number of cells",
        "#   1 left out: no user id",
        "# items: 50 rows read, 50 kept",
        "# 32 users, 2026-06-01 to 2026-06-01: 100 click, 100 cart, 100 purchase, ",
    ):
        assert line in said.out
    assert "search" in said.err
    assert "first row 501" in said.err

    assert main(["check", str(events), str(items), "--recipe", str(recipe)]) == 0
    again = capsys.readouterr().out
    assert again == "".join(line for line in said.out.splitlines(True) if line.startswith("#"))


def test_a_folder_and_a_recipe_of_another_adapter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "films" / "ratings.dat", "".join(f"u{n % 9}::{n}::{n % 11}::1400000000\n" for n in range(99)))
    write(tmp_path / "films" / "movies.dat", "".join(f"{n}::T (2000)::A|B\n" for n in range(99)))
    assert main(["check", str(tmp_path / "films"), "--recipe", "movietweetings"]) == 0
    assert "# events: 99 rows read, 99 kept" in capsys.readouterr().out
    assert main(["check", str(tmp_path / "films")]) == 2
    assert "films: holds no events.csv" in capsys.readouterr().err


def test_what_cannot_be_drafted_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.csv", "who,sku,time,kind\nu,1,2026-06-01,click\n")
    assert main(["check", str(path)]) == 2
    said = capsys.readouterr()
    assert 'item_id = "sku"' in said.out  # what was recognised is printed all the same
    assert "no column 'user_id'; the columns are: who, sku, time, kind" in said.err
    assert main(["check", str(tmp_path / "none.csv")]) == 2
    assert "none.csv: there is no such file or folder" in capsys.readouterr().err
    assert main(["check", str(path), "--recipe", "demo"]) == 2
    assert "data.adapter = 'simulated' does not read these files" in capsys.readouterr().err
    assert main(["check", str(write(tmp_path / "b.csv", "user,sku,time,kind\nu,1,2026-06-01,click\n"))]) == 0
    assert "# Nothing is a dislike" in capsys.readouterr().out
