"""docs/daily_job.md is run: its files are written, its commands and its Python are executed, in their order."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from conrec.__main__ import VERBS, main
from conrec.filter import snapshot as published
from tests.deploy.live_run import LiveRun

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "daily_job.md").read_text()
TEXT = TEXT.replace("2026-06-10", "2026-04-28")  # the day after the log: that of the demo, and the shorter one here
FILES = ("day.csv", "new_items.csv")
"""The text's tables, in order."""


def test_the_how_to_works_as_it_is_written(
    live: LiveRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(live.run, tmp_path / "runs" / "demo")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
    files = [text for kind, text in blocks if kind == "csv"]
    for name, text in zip(FILES, files, strict=True):
        assert f"`{name}`:" in TEXT
        Path(name).write_text(text)
    capsys.readouterr()
    printed = []
    for kind, text in blocks:
        if kind == "sh":
            for line in text.strip().splitlines():
                assert main(shlex.split(line)[1:]) == 0, capsys.readouterr().err
        elif kind == "python":
            exec(text, {})
        printed.append(capsys.readouterr().out)
    said = "\n".join(printed)
    versions = published.versions(tmp_path / "runs" / "demo" / "snapshots")
    assert len(versions) == 3  # published, the day, and the day again after the rollback
    assert f"{versions[0]} in use\n" in said
    assert "events: 2 read, 2 kept" in said
    assert "items: 2 read, 2 kept" in said
    assert f"{versions[2]} ['sku-1002'" in said
    assert "ann" in pq.read_table("merged/events.parquet")["user_id"].to_pylist()


def test_commands_that_are_only_shown_exist() -> None:
    commands = re.findall(r"^ {4}conrec (\w+)", TEXT, re.MULTILINE)
    assert commands
    assert set(commands) <= VERBS.keys()
