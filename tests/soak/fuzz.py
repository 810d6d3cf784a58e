"""Readers and the wire under bytes that a fuzzer makes up from what the code does with them (atheris, libFuzzer).

    pip install atheris
    python -m tests.soak.fuzz TARGET WORK [--seconds 300]

Targets: `events` (a CSV file of events), `lines` (events as JSON lines), `recipe` (TOML), `wire` (bodies of requests),
`history` (a user's packed history), `picture`. Whatever the bytes are, what reads them answers, or refuses with its own
error. Anything else is written to WORK as a file `crash-...`, printed, and ends this with status 77.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["conrec"]):
    from conrec.config import DataConfig, load_recipe
    from conrec.data.adapters import generic
    from conrec.errors import ConrecError
    from conrec.items.pictures import open_picture
    from conrec.score.user_history import History
    from conrec.serve import schema
    from conrec.serve.web import Refused, decode

EVENTS = (
    "user_id,item_id,time,kind,reason,value\nu1,i1,2026-05-20,dislike,not_this_product,1.5\nu2,i1,1779271200,click,,\n"
)
LINE = '{"user_id": "u1", "item_id": "i1", "time": 1779271200, "kind": "dislike"}\n'
RECIPE = '[data]\nadapter = "generic"\ncolumns = {user_id = "who"}\n[split]\nhorizon_days = 7\n[lm]\nhidden = 64\n'
ASKED = b'{"user": "ann", "candidates": ["i1", "i2"], "want": 2, "mode": "demote", "relevance": [0.5, 1e3]}'
PACKED = History.of_bytes(bytes(8)).packed()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("work", type=Path)
    parser.add_argument("--seconds", type=int, default=300)
    asked = parser.parse_args()
    read, begin = TARGETS[asked.target]
    folder = asked.work / asked.target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "begin").write_bytes(begin)

    def one(content: bytes) -> None:
        read(content, asked.work)

    limits = [f"-max_total_time={asked.seconds}", "-max_len=2000", "-timeout=20", f"-artifact_prefix={asked.work}/"]
    atheris.Setup([sys.argv[0], *limits, str(folder)], one)
    atheris.Fuzz()


def must(right: bool, what: object) -> None:
    if not right:
        raise AssertionError(what)


def events(content: bytes, work: Path, suffix: str = "csv") -> None:
    path = work / f"events.{suffix}"
    path.write_bytes(content)
    try:
        log = generic.read(path, DataConfig("generic"), None)
    except ConrecError as error:
        must(str(path) in str(error), error)
    else:
        log.accounting.check()


def lines(content: bytes, work: Path) -> None:
    events(content, work, "jsonl")


def recipe(content: bytes, work: Path) -> None:
    path = work / "recipe.toml"
    path.write_bytes(content)
    try:
        load_recipe(path)
    except ConrecError as error:
        must("recipe" in str(error), error)


def wire(content: bytes, work: Path) -> None:
    for kind in (schema.FilterRequest, schema.BatchRequest, schema.DislikeRequest, schema.FeedbackRequest):
        try:
            decode(kind, content)
        except Refused as error:
            must(error.status in (400, 422), error)


def history(content: bytes, work: Path) -> None:
    try:
        found = History.of_bytes(content)
    except ValueError:
        return
    must(found.packed() == content, found)


def picture(content: bytes, work: Path) -> None:
    image, outcome = open_picture(content, 64)
    must((image is None) == (outcome != "used"), outcome)


TARGETS: dict[str, tuple[Callable[[bytes, Path], None], bytes]] = {
    "events": (events, EVENTS.encode()),
    "lines": (lines, LINE.encode()),
    "recipe": (recipe, RECIPE.encode()),
    "wire": (wire, ASKED),
    "history": (history, PACKED),
    "picture": (
        picture,
        b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\x00",
    ),
}

if __name__ == "__main__":
    main()
