"""docs/service.md cannot rot: its requests are made to a real service, and its tables name what there is."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conrec.__main__ import VERBS
from conrec.serve.access import Access
from conrec.serve.metrics import Metrics
from conrec.serve.settings import Settings
from conrec.serve.web import Refused
from tests.serve.small import serving

DOCS = Path(__file__).resolve().parents[2] / "docs"
TEXT = (DOCS / "service.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```sh\n(curl [^\n]*)\n```\n\n```json\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the example of docs/library.md writes that publishes a snapshot."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "library.md").read_text(encoding="utf-8"), re.DOTALL)
    first = next(block for block in blocks if "write_snapshot" in block)
    lines = [line[4:] for line in first.splitlines() if line.startswith((">>>", "..."))]
    monkeypatch.chdir(tmp_path)
    exec("\n".join(lines), {})
    return tmp_path / "snapshots"


def test_every_request_is_answered_as_it_says(snapshots: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    assert len(EXAMPLES) == TEXT.count("```sh\n") == TEXT.count("```json\n") >= 5
    with serving(snapshots) as client:
        for command, expected in EXAMPLES:
            words = shlex.split(command.replace("localhost:8000", f"127.0.0.1:{client.port}"))
            done = subprocess.run(words, capture_output=True, check=True, timeout=30)
            assert rounded(json.loads(done.stdout)) == rounded(json.loads(expected)), command


def rounded(value: Any) -> Any:
    """Scores to six digits, and one name for every version."""
    if isinstance(value, dict):
        return {key: "a version" if key == "version" else rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return round(value, 6) if isinstance(value, float) else value


def test_settings_metrics_and_addresses_are_all_explained(snapshots: Path) -> None:
    for name in Settings.__struct_fields__:
        assert f"`CONREC_{name.upper()}`" in TEXT, name
    metrics = {
        f"{family.name}_total" if family.type == "counter" else family.name for family in Metrics().registry.collect()
    }
    assert set(re.findall(r"`(conrec_\w+)`", TEXT)) == metrics
    with serving(snapshots) as client:
        paths = [path for path in client.get("/openapi.json")["paths"] if not path.startswith(("/ui", "/report"))]
    for path in paths:
        assert path.replace("{user}", "ann") in TEXT, path


def test_the_file_of_tokens_is_one(tmp_path: Path) -> None:
    (block,) = re.findall(r"```\n(# openssl.*?)```", TEXT, re.DOTALL)
    (tmp_path / "tokens").write_text(block)
    token = re.search(r"^ranker (\w+)$", block, re.MULTILINE)
    assert token is not None
    asked = {"headers": [(b"authorization", f"Bearer {token[1]}".encode())]}
    Access(tmp_path / "tokens").check(asked, "ranker")
    with pytest.raises(Refused):
        Access(tmp_path / "tokens").check(asked, "operator")


def test_the_alerts_are_rules_on_metrics_that_exist() -> None:
    yaml = pytest.importorskip("yaml")
    (group,) = yaml.safe_load((DOCS / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    samples = {sample.name for family in Metrics().registry.collect() for sample in family.samples}
    samples |= {f"{family.name}{end}" for family in Metrics().registry.collect() for end in ("", "_total", "_bucket")}
    for rule in group["rules"]:
        used = set(re.findall(r"conrec_\w+", rule["expr"]))
        assert used <= samples, rule["alert"]
        assert rule["annotations"]["summary"]
        assert rule["expr"].count("(") == rule["expr"].count(")")
    rules = " ".join(rule["expr"] for rule in group["rules"])
    for told in ("dropped_total", "unknown_items_total", "snapshot_age_seconds", "fail_open_total", "problem", "ready"):
        assert f"conrec_{told}" in rules


def test_its_commands_and_links_exist() -> None:
    commands = re.findall(r"^    conrec (\w+)", TEXT, re.MULTILINE)
    assert commands == ["calibrate", "refresh", "serve", "serve"]
    assert set(commands) <= set(VERBS)
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT):
        assert (DOCS / target).exists(), target
