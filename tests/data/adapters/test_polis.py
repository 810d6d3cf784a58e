"""Polis: the shared conversations by their README's counts, and a folder of the same layout in miniature."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pytest

from conrec.config import DataConfig
from conrec.data.adapters import polis
from conrec.errors import ConrecError
from tests.data.adapters.files_for_tests import item, rows, sound, write

VOTES = "timestamp,datetime,comment-id,voter-id,vote\n"
COMMENTS = "timestamp,datetime,comment-id,author-id,agrees,disagrees,moderated,comment-body\n"
MS = 1_400_000_000_000


def vote(ms: object, statement: object, voter: object, sign: object) -> str:
    return f"{ms},Wed Nov 12 2014,{statement},{voter},{sign}\n"


def two_conversations(tmp_path: Path) -> Path:
    votes = vote(MS, 0, 0, 1) + vote(MS + 9, 1, 0, -1) + vote(MS + 2, 0, 1, 0) + vote(MS + 3, 7, 1, -1)
    votes += vote(MS + 5, 1, 0, 1)  # written later, but voted on before: not the last vote
    votes += vote(MS + 6, 0, 1, 1) + vote(MS + 6, 0, 1, -1)  # of the same moment the later row counts
    write(tmp_path / "bikes" / "votes.csv", VOTES + votes)
    write(
        tmp_path / "bikes" / "comments.csv",
        COMMENTS + f'{MS - 8},x,0,4,9,9,1,"More ""lanes"",\nplease"\n{MS + 1},x,1,4,0,0,0,Fewer cars\n',
    )
    write(tmp_path / "taxes" / "votes.csv.gz", VOTES + vote(MS + 4, 0, 0, -1))
    write(
        tmp_path / "taxes" / "comments.csv.gz", COMMENTS + f"{MS},x,0,1,0,0,-1,Less\n{MS},x,5,1,0,0,-1,Nobody saw me\n"
    )
    write(tmp_path / "README.md", "not a conversation")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_the_last_vote_counts_and_ids_are_of_their_conversation(tmp_path: Path) -> None:
    log = sound(polis.read(two_conversations(tmp_path), DataConfig(), None))
    assert sorted(rows(log.events, "user_id", "item_id", "kind")) == [
        ("bikes/0", "bikes/0", "favorite"),
        ("bikes/0", "bikes/1", "dislike"),
        ("bikes/1", "bikes/0", "dislike"),
        ("bikes/1", "bikes/7", "dislike"),
        ("taxes/0", "taxes/0", "dislike"),
    ]
    assert log.accounting.to_json()["dropped"] == {"vote changed later": 3}
    assert log.accounting.read == 8
    first = item(log, "bikes/0")
    assert (first["title"], first["category"]) == ('More "lanes", please', "bikes")
    assert int(first["first_seen"].timestamp() * 1000) == MS - 8
    assert item(log, "bikes/7")["title"] == "bikes/7"  # voted on, but in no list
    assert item(log, "taxes/5")["title"] == "Nobody saw me"


def test_one_conversation_is_read_as_in_the_folder_of_all(tmp_path: Path) -> None:
    folder = two_conversations(tmp_path)
    everything = polis.read(folder, DataConfig(), None).events
    one = polis.read(folder / "bikes", DataConfig(), None).events
    assert one.equals(everything.filter(pc.starts_with(everything["user_id"], "bikes/")))


def test_bad_rows_are_counted_and_a_wrong_folder_is_named(tmp_path: Path) -> None:
    good = "".join(vote(MS + n, n % 90, n // 90, 1) for n in range(900))
    bad = vote(MS, 1, "", 1) + vote("soon", 1, 2, 1) + vote(1, 1, 2, 1) + vote(MS, 1, 2, 2) + vote(MS, "", 2, 2)
    write(tmp_path / "a" / "votes.csv", VOTES + good + bad)
    listed = "".join(f"{MS},x,{n},1,0,0,0,statement {n}\n" for n in range(90))
    write(tmp_path / "a" / "comments.csv", COMMENTS + listed)
    log = sound(polis.read(tmp_path, DataConfig(), None))
    assert log.accounting.to_json()["dropped"] == {
        "no statement id": 1,
        "no voter id": 1,
        "time before 2012": 1,
        "timestamp is not in Unix milliseconds": 1,
        "vote is none of -1, 0, 1": 1,
    }
    write(tmp_path / "b" / "votes.csv", VOTES + vote(MS, 1, 1, "yes") + vote(MS, 1, 2, 1))
    with pytest.raises(ConrecError, match=r"b/votes\.csv: row 1: vote = 'yes'"):
        polis.read(tmp_path / "b", DataConfig(), None)
    write(tmp_path / "b" / "votes.csv", VOTES + vote(MS, 1, 1, 1))
    with pytest.raises(ConrecError, match=r"b: holds no comments\.csv"):
        polis.read(tmp_path, DataConfig(), None)
    (tmp_path / "none").mkdir()
    for wrong in (tmp_path / "none", tmp_path / "a" / "votes.csv"):
        with pytest.raises(ConrecError, match=r"--data must"):
            polis.read(wrong, DataConfig(), None)


def test_shared_conversations(shared_data: Path) -> None:
    log = sound(polis.read(shared_data / "polis", DataConfig(), None))
    assert (log.accounting.read, log.events.num_rows) == (269_103, 266_838)
    assert log.accounting.dropped == {"vote changed later": 2_265}
    assert (
        pc.sum(pc.equal(log.events["kind"], "dislike")).as_py() == 61_931
    )  # of all rows, changed votes included, 62,449
    assert len(pc.unique(log.events["user_id"])) == 7_673
    assert len(pc.unique(log.events["item_id"])) == 2_772
    assert len(pc.unique(log.items["category"])) == 14
    belongs = {i: i.rpartition("/")[0] for i in log.items["item_id"].to_pylist()}
    assert belongs == dict(rows(log.items, "item_id", "category"))
    assert all(belongs[i] == u.rpartition("/")[0] for u, i in set(rows(log.events, "user_id", "item_id")))
