"""The users on the page: hits marked exactly, failures beside successes, strangers' text on one line."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from conrec.errors import ConrecError
from conrec.report.users import TITLE_LIMIT, some_users, tidy
from tests.evaluate.run_folder import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("users"))


def test_failures_beside_successes(run: Path):
    users = some_users(run)
    assert [u["kind"] for u in users] == ["at least one hit"] * 3 + ["no hit"] * 2 + ["no past dislikes"]
    for user in users:
        positives, dislikes, predicted, future = user["rows"]
        assert len(predicted["items"]) == 20
        assert any(i["hit"] for i in predicted["items"]) == any(i["hit"] for i in future["items"])
        if user["kind"] != "no past dislikes":
            assert any(i["hit"] for i in predicted["items"]) == (user["kind"] == "at least one hit")
            assert dislikes["items"]
        else:
            assert dislikes["items"] == []
        assert not any(i["hit"] for i in positives["items"] + dislikes["items"])
        assert positives["total"] == 30


def test_hits_are_the_intersection(run: Path):
    """Counted again from the tables: the page's hits are those of the instances it shows."""
    predictions = pq.read_table(run / "predict" / "seed0" / "predictions.parquet").to_pylist()
    instances = {r["instance_id"]: r for r in pq.read_table(run / "prepare" / "instances.parquet").to_pylist()}
    expected = {
        len(set(p["items"]) & set(instances[p["instance_id"]]["future"]))
        for p in predictions
        if instances[p["instance_id"]]["n_dislikes"]
    }
    shown = {sum(i["hit"] for i in u["rows"][2]["items"]) for u in some_users(run, 99, 99, 0)}
    assert shown == expected


def test_the_same_users_every_time(run: Path):
    assert some_users(run) == some_users(run)


def test_newest_history_first(run: Path):
    titles = dict(
        zip(*pq.read_table(run / "prepare" / "items.parquet", columns=["item_id", "title"]).to_pydict().values())
    )
    instances = pq.read_table(run / "prepare" / "instances.parquet").to_pylist()
    newest = {tuple(tidy(titles[i]) or i for i in r["positives"][::-1][:8]) for r in instances}
    for user in some_users(run):
        assert tuple(i["title"] for i in user["rows"][0]["items"]) in newest


def test_nothing_to_show(tmp_path: Path):
    assert some_users(tmp_path) == []


def test_a_damaged_table_is_named(tmp_path: Path):
    write_run(tmp_path)
    (tmp_path / "prepare" / "instances.parquet").write_bytes(b"PAR1")
    with pytest.raises(ConrecError, match=r"instances\.parquet: not readable .* run its stage again"):
        some_users(tmp_path)


def test_tidy():
    assert tidy("a\u202eb\x00\n\tc") == "a b c"
    assert tidy("क्\u200dष") == "क्\u200dष"
    assert len(tidy("x" * 1000)) == TITLE_LIMIT
