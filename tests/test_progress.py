"""Progress goes to stderr: lines where that is no terminal, a bar where it is."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from conrec.progress import say, track


def test_every_value_comes_through_in_order() -> None:
    assert list(track([3, 1, 2], "values")) == [3, 1, 2]
    assert list(track((n for n in range(3)), "a generator", total=3)) == [0, 1, 2]
    assert list(track([], "nothing")) == []


def test_lines_say_how_far_it_is_and_stdout_stays_clean(capsys: pytest.CaptureFixture[str]) -> None:
    list(track(range(4), "warm-up", every=0))
    out, err = capsys.readouterr()
    assert out == ""
    assert "warm-up: 1 of 4 (25 %)" in err
    assert len(err.splitlines()) == 4


def test_short_work_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    list(track(range(1000), "short"))
    assert capsys.readouterr() == ("", "")


def test_without_a_known_length_it_counts(capsys: pytest.CaptureFixture[str]) -> None:
    list(track(iter("ab"), "reading", every=0))
    assert "reading: 1, 0 s" in capsys.readouterr().err


def test_it_is_lazy() -> None:
    def endless():
        n = 0
        while True:
            yield n
            n += 1

    values = track(endless(), "endless")
    assert [next(values) for _ in range(3)] == [0, 1, 2]


def test_say_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say("compress: up to date")
    assert capsys.readouterr() == ("", "compress: up to date\n")


def test_a_terminal_gets_a_bar() -> None:
    terminal, other_end = pty.openpty()
    code = "from conrec.progress import track; list(track(range(3), 'warm-up'))"
    environment = {**os.environ, "TERM": "xterm"}
    done = subprocess.run(
        [sys.executable, "-c", code], stderr=other_end, stdout=subprocess.PIPE, env=environment, timeout=60, check=True
    )
    os.close(other_end)
    shown = os.read(terminal, 100_000).decode()
    os.close(terminal)
    assert "warm-up" in shown
    assert "100%" in shown
    assert done.stdout == b""
