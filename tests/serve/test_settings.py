"""Settings from flags and environment, and the mistakes one makes with them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conrec.errors import ConrecError
from conrec.serve.metrics import Metrics
from conrec.serve.service import Service
from conrec.serve.settings import read_settings


def test_a_flag_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONREC_SNAPSHOTS", str(tmp_path))
    monkeypatch.setenv("CONREC_PORT", "9001")
    monkeypatch.setenv("CONREC_DRY_RUN", "true")
    settings = read_settings(port=None, threshold=0.5)
    assert (settings.snapshots, settings.port, settings.dry_run, settings.threshold) == (tmp_path, 9001, True, 0.5)
    assert read_settings(port=9002).port == 9002


@pytest.mark.parametrize(
    ("flags", "environment", "said"),
    [
        ({"port": 70000}, {}, "--port 70000"),
        ({}, {"CONREC_PORT": "http"}, "CONREC_PORT 'http'"),
        ({"max_drop_share": 1.5}, {}, "--max-drop-share 1.5"),
        ({}, {"CONREC_BUDGET_MS": "0"}, "CONREC_BUDGET_MS"),
        ({"threshold": float("nan")}, {}, "--threshold"),
        ({"run": Path("nowhere")}, {}, "--run nowhere"),
        ({"snapshots": Path("nowhere")}, {}, "nowhere: there is no such folder"),
    ],
)
def test_a_mistake_names_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: dict, environment: dict, said: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConrecError) as error:
        read_settings(**{"snapshots": tmp_path, **flags})
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_list_of_exempt_users_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConrecError, match="--exempt"):
        Service(read_settings(snapshots=tmp_path, exempt=tmp_path / "gone.txt"), Metrics())


def test_a_missing_extra_is_one_clear_line(tmp_path: Path) -> None:
    code = "import sys; sys.modules['uvicorn'] = None; import conrec.__main__ as m; sys.exit(m.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "serve", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == "conrec: this needs uvicorn; pip install 'conrec[serve]'\n"
