"""RecIF-Bench's layout in miniature."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conrec.config import DataConfig
from conrec.data.adapters import recif
from conrec.errors import ConrecError
from tests.data.adapters.files_for_tests import item, rows, sound

FLAGS = ("longview", "like", "co_dislike_score", "forward", "not_interested")


def user(uid: int | None, hist: list[Any], target: list[Any], **flags: list[Any]) -> dict[str, Any]:
    """One row; flags that are not given are 0."""
    row: dict[str, Any] = {"uid": uid, "split": 0, "hist_video_pid": hist, "target_video_pid": target}
    for part, videos in (("hist", hist), ("target", target)):
        row |= {f"{part}_video_{f}": flags.get(f"{part}_{f}", [0] * len(videos or [])) for f in FLAGS}
    return row


def main(folder: Path, users: list[dict[str, Any]], pids: pa.DataType | None = None) -> Path:
    lists = {"pid": pa.list_(pids or pa.int64())} | {f: pa.list_(pa.int64()) for f in FLAGS}
    schema = [("uid", pa.int64()), ("split", pa.int64())]
    schema += [(f"{part}_video_{n}", t) for part in ("hist", "target") for n, t in lists.items()]
    pq.write_table(pa.Table.from_pylist(users, pa.schema(schema)), folder / "onerec_bench_release.parquet")
    return folder


def test_flags_and_order(tmp_path: Path) -> None:
    users = [
        user(1, [10, 11, 12], [13, 14], hist_longview=[1, 1, 1], hist_like=[0, 1, 1], hist_not_interested=[0, 0, 1]),
        user(2, [], [10], target_not_interested=[1]),
        user(3, [12], [], hist_longview=[1]),
    ]
    log = sound(recif.read(main(tmp_path, users), DataConfig(), None))
    ordered = log.events.sort_by([("user_id", "ascending"), ("time", "ascending")])
    assert rows(ordered, "user_id", "item_id", "kind") == [
        ("1", "10", "click"),
        ("1", "11", "favorite"),
        ("1", "12", "dislike"),
        ("1", "13", "exposure"),
        ("1", "14", "exposure"),
        ("2", "10", "dislike"),
        ("3", "12", "click"),
    ]
    times = ordered["time"].to_pylist()
    assert times[3] == times[5] == recif.ORIGIN
    assert recif.read(tmp_path / "onerec_bench_release.parquet", DataConfig(), None).events.num_rows == 7


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=6))
def test_times_follow_the_order_of_every_user(tmp_path_factory: pytest.TempPathFactory, sizes: list[Any]) -> None:
    if not any(a + b for a, b in sizes):
        return
    users = [user(n, list(range(a)), list(range(100, 100 + b))) for n, (a, b) in enumerate(sizes)]
    log = sound(recif.read(main(tmp_path_factory.mktemp("recif"), users), DataConfig(), None))
    ordered = log.events.sort_by("time")
    for n, (a, b) in enumerate(sizes):
        mine = [(i, t) for u, i, t in rows(ordered, "user_id", "item_id", "time") if u == str(n)]
        assert [i for i, _ in mine] == [str(i) for i in [*range(a), *range(100, 100 + b)]]
        assert len({t for _, t in mine}) == a + b


def test_captions_and_semantic_ids(tmp_path: Path) -> None:
    folder = main(tmp_path, [user(1, [10, 11], [12])])
    pq.write_table(
        pa.table({"pid": [11, 10, 99], "dense_caption": ["two\ncats", "", "x"]}), folder / "pid2caption.parquet"
    )
    sids = pa.table({"pid": [10, 11], "sid": [[340, 6566, 5603], [1, 2, 3]]})
    pq.write_table(sids, folder / "video_ad_pid2sid.parquet")
    log = sound(recif.read(folder, DataConfig(), None))
    assert (item(log, "11")["title"], item(log, "10")["title"], item(log, "12")["title"]) == ("two cats", "10", "12")
    assert (item(log, "10")["category"], item(log, "10")["attributes"]) == ("cluster 340", {"sid": "340-6566-5603"})
    assert (item(log, "12")["category"], item(log, "12")["attributes"]) == (None, {})


def test_ids_that_pandas_turned_into_floats(tmp_path: Path) -> None:
    folder = main(tmp_path, [user(1, [10.0, float("nan"), 123456789.0], [12.0])], pa.float64())
    log = sound(recif.read(folder, DataConfig(), None))
    assert [i for (i,) in rows(log.events, "item_id")] == ["10", "123456789", "12"]
    assert log.accounting.dropped == {"no item id": 1}


def test_a_user_with_misaligned_lists(tmp_path: Path) -> None:
    good = [user(n, [1, 2], [3]) for n in range(200)]
    folder = main(tmp_path, [*good, user(201, [1, 2], [3], hist_like=[1])])
    log = sound(recif.read(folder, DataConfig(), None))
    assert log.accounting.dropped == {"user without id or with lists of unequal length": 3}
    main(tmp_path, [*good, *(user(None, [1], []) for _ in range(9))])
    with pytest.raises(ConrecError, match=r"row 201: .*9 of 209 users"):
        recif.read(folder, DataConfig(), None)


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(ConrecError, match="nowhere: there is no such folder"):
        recif.read(tmp_path / "nowhere", DataConfig(), None)
    with pytest.raises(ConrecError, match=r"holds no onerec_bench_release\.parquet"):
        recif.read(tmp_path, DataConfig(), None)
    file = tmp_path / "onerec_bench_release.parquet"
    pq.write_table(pa.table({"uid": [1], "hist_video_pid": [[1]]}), file)
    with pytest.raises(ConrecError, match="not RecIF-Bench: no column hist_video_not_interested"):
        recif.read(tmp_path, DataConfig(), None)
    row = dict.fromkeys(user(1, [1], [1]), "[1]") | {"uid": 1}
    pq.write_table(pa.Table.from_pylist([row]), file)
    with pytest.raises(ConrecError, match="must hold lists"):
        recif.read(tmp_path, DataConfig(), None)
    main(tmp_path, [])
    with pytest.raises(ConrecError, match="has no rows"):
        recif.read(tmp_path, DataConfig(), None)
