"""Settings from flags and environment, and the mistakes one makes with them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conrec.errors import ConrecError
from conrec.filter.guardrails import Guardrails, Limits
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


def test_a_surface_has_what_its_part_of_the_file_says_and_the_rest_is_as_everywhere(tmp_path: Path) -> None:
    (tmp_path / "surfaces.toml").write_text('[home]\nmax_drop_share = 0.1\n[mail]\nmode = "demote"\ndry_run = false\n')
    settings = read_settings(snapshots=tmp_path, surfaces=tmp_path / "surfaces.toml", min_keep=5, dry_run=True)
    assert settings.guardrails() == Guardrails(
        5,
        dry_run=True,
        surfaces={"home": Limits(5, 0.1, dry_run=True), "mail": Limits(5, mode="demote")},
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[home]\nmin_keep = -1", "[home]: min_keep must be 0 or more, not -1"),
        ("[home]\nmax_drop_share = 2", "[home]: max_drop_share must lie between 0 and 1, not 2"),
        ("[home]\nmin_keep = 'all'", "[home]: min_keep = 'all'; it must be int"),
        ("[home]\nmode = 'soften'", "[home]: mode = 'soften'; it must be one of demote, drop"),
        ("[home]\nmin_kept = 3", "unknown key min_kept; did you mean min_keep?"),
        ("[home]\nexempt = ['ann']", "unknown key exempt"),
        ("min_keep = 3", "min_keep is of no surface; begin with its name, as in [home]"),
        ("[home", "not valid TOML"),
        (None, "No such file"),
    ],
)
def test_a_mistake_in_the_file_of_surfaces_names_its_place(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "surfaces.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConrecError) as error:
        Service(read_settings(snapshots=tmp_path, surfaces=path), Metrics())
    assert str(error.value).startswith(str(path))
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
