"""What the verbs say while they work, on stderr, names no user and no item; the service's log neither."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from tests.model.small import tables
from tests.serve.small import Client, command, wait_for


def conrec(*words: object) -> str:
    """What a verb says on stderr; it must succeed."""
    started = [sys.executable, "-m", "conrec", *map(str, words)]
    done = subprocess.run(
        started, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_nobody_is_named_from_the_log_to_the_service(tmp_path: Path) -> None:
    events, items = tables()
    log = events.set_column(0, "user_id", pc.binary_join_element_wise("person", events["user_id"], "-"))
    log = log.set_column(1, "item_id", pc.binary_join_element_wise("sku", events["item_id"], "-"))
    log = log.set_column(2, "time", events["time"].cast(pa.timestamp("us")).cast(pa.string()))
    own = {"user_id": "person-u3", "item_id": "sku-i4", "time": "2026-05-02T10:00:00Z", "kind": "dislike"}
    odd = [own | {"time": "soon"}, own | {"item_id": ""}, own | {"time": "2027-05-02T10:00:00Z"}]
    pa_csv.write_csv(pa.concat_tables([log, pa.Table.from_pylist(odd)]), tmp_path / "events.csv")
    titles = pc.binary_join_element_wise("Zeppelin", items["title"], " ")
    listed = items.set_column(0, "item_id", pc.binary_join_element_wise("sku", items["item_id"], "-"))
    pa_csv.write_csv(listed.set_column(1, "title", titles), tmp_path / "items.csv")
    day = [own | {"item_id": f"sku-i{n}"} for n in range(60)] + [
        own | {"item_id": "sku-unknown"},
        own | {"time": "never"},
    ]
    pa_csv.write_csv(pa.Table.from_pylist(day), tmp_path / "day.csv")

    run = tmp_path / "run"
    said = conrec("fit", tmp_path / "events.csv", tmp_path / "items.csv", "--out", run)
    assert "2 of 7003 rows cannot be used" in said
    said += conrec("calibrate", run, "--likes-lost", "0.1") + conrec("refresh", run)
    said += conrec("refresh", run, "--events", tmp_path / "day.csv") + conrec("forget", "person-u7", "--run", run)
    start, port = command(run / "snapshots")
    logged = tmp_path / "logged"
    with logged.open("wb") as out:
        process = subprocess.Popen([*start, "--run", str(run)], stdout=out, stderr=out)
    try:
        wait_for(lambda: ready(port), seconds=60)
        client = Client(port)
        client.post("/v1/users/person-u3/dislikes", {"item": "sku-i9"})
        client.filter("person-u3", ["sku-i9", "sku-i4", "sku-unknown"])
        client.get("/v1/users/person-u3")
        wait_for(lambda: client.get("/ui/about")["version"] is not None)
        client.get("/ui/candidates?user=person-u3")
        for method, path in (
            ("GET", "/v1/users/person-u7"),
            ("POST", "/v1/users/person-u3/undo"),
            ("GET", "/person-u3"),
        ):
            assert client.ask(method, path, {"item": "sku-i4"})[0] in (200, 404, 422)
    finally:
        process.terminate()
        process.wait(30)
    said += logged.read_text()
    assert "is in use" in said
    assert re.findall(r"person-\w*|sku-\w*|Zeppelin.*", said) == []


def ready(port: int) -> bool:
    try:
        return Client(port).ask("GET", "/readyz")[0] == 200
    except ConnectionRefusedError:
        return False
