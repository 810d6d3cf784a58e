"""What the stages read, against the readers of the single files."""

import json
from pathlib import Path

import pytest

from conrec.data.instances import read_events, read_instances, read_items
from conrec.errors import ConrecError
from conrec.features.prepared_log import PreparedLog
from conrec.items.fields import fields_of
from conrec.sid.catalog import unit_rows
from tests.features.log_view_for_tests import CONFIG
from tests.small_log import CUTS, WEEK, small_log, write_prepared, write_small_run


@pytest.fixture
def log(tmp_path: Path) -> PreparedLog:
    items, events = small_log()
    write_small_run(tmp_path, items, events)
    return PreparedLog(tmp_path / "prepare", tmp_path / "compress")


def test_the_parts_are_those_of_the_files(log: PreparedLog) -> None:
    items = read_items(log.prepared)
    assert log.items.ids == items.ids
    assert log.events.users.tolist() == read_events(log.prepared, items).users.tolist()
    assert log.instances.next.tolist() == read_instances(log.prepared, items).next.tolist()
    assert (log.split.validation_start, log.split.train_users) == (CUTS[0], None)
    assert (log.view.content == unit_rows(log.embeddings)).all()
    assert log.view.fields == fields_of(log.item_table)
    assert log.replay("test", CONFIG).instances.cutoffs.min() == CUTS[1]
    assert log.knowledge.dislike_counts(CUTS[0] + WEEK).sum() > 0


def test_a_category_that_is_a_container_is_no_attribute(log: PreparedLog) -> None:
    path = log.prepared / "split.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pool": "category"}))
    assert log.knowledge.by_category
    assert log.view.fields == [{n: v for n, v in item.items() if n != "category"} for item in fields_of(log.item_table)]
    assert any("category" in item for item in fields_of(log.item_table))
    assert {name for item in log.view.fields for name in item} == {"shape", "year"}


def test_each_part_is_read_once_and_shared(log: PreparedLog) -> None:
    assert log.view.events is log.events
    for path in log.prepared.iterdir():
        if path.name != "split.json":
            assert log.instances is not None
            path.unlink()
    assert log.view.items is log.items
    assert log.view.catalog is log.catalog


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    log = PreparedLog(tmp_path / "prepare", tmp_path / "compress")
    items, events = small_log()
    write_prepared(tmp_path / "prepare", items, events)
    assert len(log.events) == len(events)
    with pytest.raises(ConrecError, match="run the compress stage again"):
        log.catalog  # noqa: B018
