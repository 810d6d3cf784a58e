"""The demonstration: first the filter alone and one user's list behind it, then everything."""

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import conrec
from conrec.cli.main import main
from conrec.cli.run import Run

SMALL = """
name = "small"
[data]
adapter = "simulated"
[simulate]
users = 400
items = 150
days = 100
"""
SAID = {1: "disliked", -1: "liked"}


@pytest.mark.slow
def test_the_minutes_way_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("demo").write_text(SMALL)  # a recipe of that name here comes before the one that comes along
    asked: list[Run] = []
    monkeypatch.setattr("conrec.cli.run.run", asked.append)
    assert main(["demo", "--out", "out"]) == 0
    assert asked == [Run(Path("demo"), Path("out"))]
    assert not Path("out").exists()  # the fitted filter is beside the whole run, not in it

    told, listed = capsys.readouterr().out.strip().rsplit("\n\n", 1)
    assert "dislikes avoided where 1, 2 and 5 %" in told
    first, *lines = listed.splitlines()
    user, model = first.split()[0], conrec.load("out-fit")
    shown = pq.read_table("out-fit/filter/seed0/scores.parquet", filters=[("split", "=", "test")])
    own = shown.filter(pc.equal(shown["user_id"], user)).to_pylist()
    items = pq.read_table("out-fit/prepare/items.parquet", columns=["item_id", "title"]).to_pydict()
    by_title = {title[:44].strip(): item for item, title in zip(items["item_id"], items["title"])}
    labels = {row["item_id"]: row["label"] for row in own}
    assert len(lines) == min(20, len(labels))
    candidates = [by_title[line[16:60].strip()] for line in lines]
    decision = model.filter(user, candidates)
    for line, item, score in zip(lines, candidates, decision.scores):
        assert line.split()[:2] == ["drops" if item in decision.dropped else "keeps", f"{score:.2f}"]
        assert line[61:70].strip() == SAID.get(labels[item], "")
    assert {line.split()[0] for line in lines} == {"drops", "keeps"}
