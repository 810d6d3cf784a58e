"""The doctor says what is wrong, and survives it."""

from __future__ import annotations

import pytest

from conrec.cli import doctor


def test_a_failing_part_is_a_finding(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch", reason="the extra `train` is not installed")

    def fail(*_: object, **__: object) -> None:
        raise OSError("libgomp.so.1: cannot open\nmore")

    monkeypatch.setattr(torch.optim, "Adam", fail)
    assert not doctor.examine()
    assert "torch test            FAILS: OSError: libgomp.so.1: cannot open\n" in capsys.readouterr().out
    monkeypatch.undo()
    assert doctor.examine()
    assert "torch test            a loss of 8 is 0" in capsys.readouterr().out


def test_a_missing_library_is_a_finding(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    known = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in ("numba", "torch") else known(name))
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name in ("torch", "faiss") else "there")
    assert not doctor.examine()
    said = capsys.readouterr().out
    assert "numba                 MISSING" in said
    assert "extra train           without torch, faiss; optional: pip install 'conrec[train]'" in said
    assert "torch test" not in said
