"""Work in parts; tests/scale has that of a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from conrec.cli.main import main


def test_a_cluster_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="the extra `scale` is not installed")
    monkeypatch.setattr("conrec.parallel._engine", "native")  # and again afterwards
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    for address, why in (("auto", "Could not find any running Ray instance"), ("nonsense", "Invalid address format")):
        monkeypatch.setenv("RAY_ADDRESS", address)
        assert main(["run", "demo", "--out", str(tmp_path / "run"), "--engine", "ray"]) == 2
        said = capsys.readouterr().err
        assert f"no cluster at {address} ({why}" in said
        assert said.count("\n") == 1
        assert not (tmp_path / "run").exists()
