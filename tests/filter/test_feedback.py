"""What users say between two snapshots: written by several, read by several, each entry once, in any order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conrec.errors import ConrecError
from conrec.filter.feedback import FILE, Entry, Feedback, in_force
from conrec.filter.mutes import Mute


def said(feedback: Feedback, user: str) -> list[tuple[str, str]]:
    return [(entry.kind, entry.item) for entry in feedback.of(user)]


def test_a_reader_sees_what_others_write(tmp_path: Path) -> None:
    reader, writer = Feedback(tmp_path), Feedback(tmp_path)
    assert (reader.of("u"), reader.news("u", 0), reader.position(), reader.until(9)) == ([], (None, []), 0, [])
    assert not (tmp_path / FILE).exists()  # who only asks writes nothing
    writer.add([Entry("u", "a", "dislike"), Entry("v", "b", "undo")])
    assert writer.add([Entry("u", 'c"\n💙', "undo", 5, None)]) == 1
    assert said(reader, "u") == [("dislike", "a"), ("undo", 'c"\n💙')]
    assert [reader.news("u", after)[0] for after in (0, 2, 3)] == [3, 3, None]
    writer.mute("u", Mute("word", "cat"))
    writer.mute("z", Mute("category", "hats"))
    assert reader.news("u", 0) == (3, [Mute("word", "cat")])
    assert [reader.news(*asked) for asked in (("u", 3), ("z", 0), ("w", 0))] == [
        (None, [Mute("word", "cat")]),
        (None, [Mute("category", "hats")]),
        (None, []),
    ]
    assert reader.position() == 3
    assert [entry.user for entry in reader.until(2)] == ["u", "v"]
    assert reader.of("\ud800") == []


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.none() | st.text(st.characters(max_codepoint=127))
)
def test_whatever_an_id_holds_comes_back(item: str, event: str | None) -> None:
    with TemporaryDirectory() as folder:
        feedback = Feedback(Path(folder))
        feedback.add([Entry(item, item, "dislike", 2**62, "too_expensive", event), Entry(item, "x", "undo", -5)])
        first, second = feedback.of(item)
        assert first == Entry(item, item, "dislike", 2**62, "too_expensive", event, 1)
        assert second == Entry(item, "x", "undo", -5, position=2)
        assert feedback.until(2) == [first, second]


def test_an_id_counts_once(tmp_path: Path) -> None:
    feedback = Feedback(tmp_path)
    batch = [Entry("u", "a", "dislike", 7, "seen_or_bought", "e1"), Entry("u", "b", "dislike", id="e2")]
    assert (feedback.add(batch), feedback.add(batch), Feedback(tmp_path).add(batch[:1])) == (2, 0, 0)
    assert feedback.add([Entry("w", "x", "undo", id="e2"), Entry("u", "b", "dislike")]) == 1  # without one it is new
    first, *_ = feedback.of("u")
    assert (first.time, first.reason, first.id) == (7, "seen_or_bought", "e1")


def test_without_a_time_it_is_after_all_before(tmp_path: Path) -> None:
    feedback, future = Feedback(tmp_path), 2**60
    feedback.add([Entry("u", "a", "dislike", future), Entry("u", "a", "undo"), Entry("u", "b", "undo")], not_before=9)
    feedback.add([Entry("u", "c", "dislike")], not_before=future)
    times = [entry.time for entry in feedback.of("u")]
    assert times[:2] == [future, future + 1]
    assert 9 < times[2] < future == times[3]


def test_a_batch_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    feedback = Feedback(tmp_path)
    with pytest.raises(ConrecError, match=FILE):
        feedback.add([Entry("u", "a", "dislike"), Entry("u", None, "dislike")])  # type: ignore[arg-type]
    assert feedback.of("u") == []
    feedback.add([Entry("u", "b", "dislike")])
    assert said(feedback, "u") == [("dislike", "b")]


def test_what_is_no_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{}\n" * 1000)
    with pytest.raises(ConrecError, match="what conrec wrote"):
        Feedback(tmp_path).of("u")


def test_several_batches_are_written_in_one_go(tmp_path: Path) -> None:
    feedback = Feedback(tmp_path)
    again, pair = [Entry("u", "a", "dislike", id="e1")], [Entry("v", "b", "dislike"), Entry("v", "b", "undo")]
    assert feedback.add_each([again, pair, again, []]) == [1, 2, 0, 0]
    assert (said(feedback, "u"), said(feedback, "v")) == ([("dislike", "a")], [("dislike", "b"), ("undo", "b")])
    assert [entry.position for entry in feedback.until(9)] == [1, 2, 3]
    with pytest.raises(ConrecError, match=FILE):
        feedback.add_each([[Entry("w", "c", "dislike")], [Entry("w", None, "dislike")]])  # type: ignore[list-item]
    assert feedback.of("w") == []


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    stores = [Feedback(tmp_path) for _ in range(4)]

    def work(n: int) -> int:
        stores[n % 4].add([Entry(f"u{n % 5}", f"i{n}", "dislike")])
        return len(stores[-1 - n % 4].of(f"u{n % 5}"))

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(work, range(200)))
    assert max(seen) == 40
    assert sorted(entry.item for n in range(5) for entry in stores[0].of(f"u{n}")) == sorted(
        f"i{n}" for n in range(200)
    )


WRITER = """
import sys
from pathlib import Path
from conrec.filter.feedback import Entry, Feedback
feedback = Feedback(Path(sys.argv[1]))
for n in range(10**6):
    feedback.add([Entry("u", f"{sys.argv[2]}-{n}", "dislike")])
    print(n, flush=True)
"""


@pytest.mark.slow
def test_what_was_answered_outlives_a_kill(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(n)], stdout=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    answered = []
    for writer in writers:
        assert writer.stdout is not None
        answered.append(max(int(writer.stdout.readline()) for _ in range(200)))
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
    there = {entry.item for entry in Feedback(tmp_path).of("u")}
    assert there >= {f"{n}-{m}" for n, last in enumerate(answered) for m in range(last + 1)}


@given(
    st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.booleans(), st.integers(0, 6)), max_size=14),
    st.randoms(use_true_random=False),
)
def test_what_counts_does_not_depend_on_the_order_of_arrival(
    entries: list[tuple[int, bool, bool, int]], random
) -> None:
    def counting(rows: list[tuple[int, bool, bool, int]]) -> list[tuple[int, bool, int]]:
        table = np.array(rows, np.int64).reshape(-1, 4)
        kept = in_force(table[:, 0], table[:, 1] > 0, table[:, 2] > 0, table[:, 3])
        return sorted((row[0], row[1], row[3]) for row, stays in zip(rows, kept) if stays)

    # One by one in the order of time; at one moment an undo is the last word.
    there: dict[tuple[int, bool], int] = {}
    for pair, marked, undone, time in sorted(entries, key=lambda row: (row[3], row[2])):
        if undone:
            there.pop((pair, False), None)
            there.pop((pair, True), None)
        else:
            there.setdefault((pair, marked), time)
    expected = sorted((pair, marked, time) for (pair, marked), time in there.items())
    assert counting(entries) == expected
    mixed = entries + entries  # delivered twice
    random.shuffle(mixed)
    assert counting(mixed) == expected
