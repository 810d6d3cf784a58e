"""docs/settings.md is what docs/settings.py makes of the recipe now, and says something of every setting."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "settings.md").read_text(encoding="utf-8")


def test_the_page_is_up_to_date() -> None:
    command = [sys.executable, str(DOCS / "settings.py")]
    made = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert made == PAGE, "python docs/settings.py > docs/settings.md"


def test_every_setting_has_a_sentence() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| .* \| (.*) \|$", PAGE, re.MULTILINE)
    assert len(rows) == PAGE.count("\n| `")
    assert all(values and meaning.endswith(".") for _, values, meaning in rows)
