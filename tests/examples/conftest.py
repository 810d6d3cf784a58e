"""What both examples begin with: the commands of their READMEs, run."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conrec.__main__ import main

ROOT = Path(__file__).resolve().parents[2]


def commands(example: str) -> list[list[str]]:
    """The commands that an example's README is to be tried with, as words, in its order."""
    text = (ROOT / "examples" / example / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.strip().splitlines()]


def as_run(words: list[str]) -> list[str]:
    """A command of Python as it is run here, in a folder that is not the clone's root."""
    assert words[0] == "python"
    return [sys.executable, str(ROOT / words[1]), *words[2:]]


@contextlib.contextmanager
def started(words: list[str], folder: Path, **options: object) -> Iterator[subprocess.Popen]:
    """A program of an example, until the block ends."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(as_run(words), cwd=folder, env=environment, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds `feed/` as the first three commands of either README make it; to be read only."""
    folder = tmp_path_factory.mktemp("examples")
    log, *conrec = commands("feed_generator")[:3]
    assert [log, *conrec] == commands("ranker_redis")[:3]
    subprocess.run(as_run(log), cwd=folder, check=True, timeout=60)
    with contextlib.chdir(folder):
        for words in conrec:
            assert words[0] == "conrec"
            assert main(words[1:]) == 0
    return folder
