"""Fixtures that every test may use."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.deploy.live_run import LiveRun


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What asks for the trained run, a browser or a whole data set is slow, and slow files come first."""
    slow = set()
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if {"live", "browser", "shared_data"} & fixtures:
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("slow"):
            slow.add(item.path)
    items.sort(key=lambda item: item.path not in slow)


class Told(logging.Handler):
    """Keeps what a library says in its log from warnings on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(f"{record.name}: {record.getMessage()}")


TOLD = Told()
logging.getLogger("transformers").addHandler(TOLD)


@pytest.fixture(autouse=True)
def told() -> Iterator[list[str]]:
    """What transformers warns of in its log, as it does, once a process, of most that is deprecated: an error, too,
    unless the test takes it from this list."""
    yield TOLD.said
    said, TOLD.said = TOLD.said, []
    assert not said, "transformers warns in its log"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the project; tests that need it are skipped without it."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data sets are not here (expected in ../shared/data)")
    return folder


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> LiveRun:
    """A small trained run and the days after it; to be read only, snapshots go elsewhere."""
    from tests.deploy.live_run import make_live_run  # late: it imports everything

    return make_live_run(tmp_path_factory.mktemp("live"))


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The URL of a local S3 server."""
    from tests.s3_server import s3_server

    yield from s3_server()
