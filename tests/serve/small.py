"""A small published snapshot whose scores can be told by hand, the run that it might come from, and a service on it.

24 items stand on a circle, 15 degrees apart, so the cosine of items n and m is cos(15 |n - m|) degrees. ann is
predicted to dislike i0 (because of i1) and i6 (because of i7), and the score of each item for her is its cosine to the
closer of the two.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uvicorn
from PIL import Image

from conrec.config import Recipe
from conrec.data.schema import EVENTS, ITEMS
from conrec.evaluate.replay import measure
from conrec.evaluate.results import FilterReplay, SplitReplay, write
from conrec.filter.publish import SnapshotItems, write_snapshot
from conrec.filter.stores import StoreName
from conrec.filter.user_store import Users
from conrec.run import run_stages
from conrec.score.factors import ItemFactors
from conrec.score.probability import DislikeProbability
from conrec.score.user_history import of_lists
from conrec.serve.app import configured
from conrec.serve.settings import Settings

N = 24
IDS = [f"i{n}" for n in range(N)]
EVIL = "<script>alert('title')</script>"
EVIL_IMAGE = "<img src=https://example.org/x onerror=alert(1)>"
EVIL_USER = "eve/<b>&?#"
TITLES = [EVIL if n == 1 else EVIL_IMAGE if n == 7 else f"Canvas shoe no. {n}, low" for n in range(N)]
CATEGORIES = [None if n == 23 else ("shoes", "hats")[n % 2] for n in range(N)]
SCORES = np.array([max(np.cos(np.deg2rad(15 * n)), np.cos(np.deg2rad(15 * (n - 6)))) for n in range(N)])
"""For ann."""
THRESHOLD = 0.9
CHANCES = DislikeProbability([-1.0, 1.0], [-3.0, 3.0], -1.0)
"""Log-odds of a dislike are three times the score."""
OVER = ["i0", "i1", "i5", "i6", "i7", "i23"]
"""What scores over the threshold for ann: at most 15 degrees from i0 or i6 (cos 15 = 0.966, cos 30 = 0.866)."""


def publish(
    snapshots: Path,
    threshold: float | None = THRESHOLD,
    made_from: dict[str, Any] | None = None,
    store: StoreName = "mapped",
    surfaces: dict[str, float | None] | None = None,
) -> str:
    """Write the snapshot and put it into use; its version. surfaces: name -> calibrated threshold."""
    angles = np.deg2rad(15 * np.arange(N))
    # The circle is wide, so that what is alike is told by the place on it.
    vectors = np.stack([SCORES, 10 * np.cos(angles), 10 * np.sin(angles)], axis=1)
    codes = np.stack([np.arange(N) // 8, np.arange(N) // 4 % 2, np.arange(N) % 4], axis=1)
    factors = ItemFactors.of(vectors, np.zeros(N))
    none = [-1, -1]
    users = Users(
        ["ann", "bob", EVIL_USER],
        predicted=np.array([[0, 6], none, [3, -1]], np.int32),
        vectors=np.array([[1, 0, 0], [0, 0, 0], [0, 0, 0]], np.float32),
        biases=np.zeros(3, np.float32),
        activity=np.array([4, 1, 0], np.int32),
        histories=[of_lists(*lists).packed() for lists in (([1, 7], [12, 13]), ([4], []), ([], []))],
    )
    calibration = {
        "likes_lost": 0.01,
        "confidence": 0.95,
        "threshold": threshold,
        "segments": None,
        "evidence": {},
        "refused": None,
    }
    items = SnapshotItems(IDS, TITLES, CATEGORIES, codes, factors)
    own = {name: {**calibration, "threshold": limit, "send": 1.5} for name, limit in (surfaces or {}).items()}
    given = {**calibration, "surfaces": own} if own else None if threshold is None else calibration
    told = {"calibration": given, "made_from": made_from, "store": store}
    return write_snapshot(snapshots, items, users, **told, probability=CHANCES)


def write_run(run: Path) -> Path:
    """A run folder, as far as the service reads one. ann was shown i0 to i19 and disliked i0, i6 and i15."""
    run_stages((), Recipe(), run, None, None, begin=True)
    prepared, filtered = run / "prepare", run / "filter" / "seed0"
    (prepared / "images").mkdir(parents=True)
    filtered.mkdir(parents=True)
    for n in range(4):
        Image.new("RGB", (400, 500), (40 * n, 120, 200)).save(prepared / "images" / f"{n}.png")
    (prepared / "images" / "3.png").write_bytes(b"\x89PNG not a picture")
    drawn = io.BytesIO()
    Image.new("RGB", (30, 60), "green").save(drawn, "PNG")
    items = pa.table(
        {
            "item_id": IDS,
            "title": TITLES,
            "image": [f"images/{n}.png" if n < 5 else None for n in range(N)],
            "image_bytes": [drawn.getvalue() if n == 6 else None for n in range(N)],
            "category": CATEGORIES,
            "text": [None] * N,
            "attributes": [[] for _ in range(N)],
            "first_seen": [None] * N,
        },
        ITEMS,
    )
    pq.write_table(items, prepared / "items.parquet")
    (prepared / "split.json").write_text(json.dumps({"horizon_days": 7, "log_end": "2026-03-12T10:00:00Z"}))
    old, new = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC)
    labels = [1 if n in (0, 6, 15) else -1 if n in (5, 12) else 0 for n in range(20)]
    scores = pa.table(
        {
            "split": ["test"] * 22,
            "user_id": ["ann"] * 22,
            "cutoff": pa.array([old] * 2 + [new] * 20, pa.timestamp("us", tz="UTC")),
            "item_id": ["i22", "i23", *IDS[:20]],
            "label": pa.array([0, 0, *labels], pa.int8()),
            "conrec": pa.array([0, 0, *SCORES[:20]], pa.float32()),
        }
    )
    pq.write_table(scores, filtered / "scores.parquet")
    measured = measure(SCORES[:20], np.array(labels), THRESHOLD)
    part = SplitReplay(instances=2, coverage=1.0, systems={"conrec": measured}, suppression=None)
    replay = FilterReplay(seed=0, likes_lost_budget=0.02, threshold=THRESHOLD, validation=part, test=part)
    write(filtered / "replay.json", replay)
    events = [
        {"user_id": "zoe", "item_id": f"i{n}", "time": new, "kind": "click", "reason": None, "value": None}
        for n in (9, 9, 9, 8, 8, 10)
    ]
    pq.write_table(pa.Table.from_pylist(events, EVENTS), prepared / "events.parquet")
    (run / "report.html").write_text("<!doctype html><title>A report</title><p>The report</p>")
    return run


class Client:
    """One connection to the service."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, body (JSON or text) and headers (names in lower case)."""
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        told = {"Content-Type": "application/json"} if sent is not None else {}
        self._connection.request(method, path, sent, told | (headers or {}))
        response = self._connection.getresponse()
        content = response.read()
        found = {name.lower(): value for name, value in response.getheaders()}
        is_json = found.get("content-type", "").startswith("application/json")
        return response.status, json.loads(content) if is_json else content, found

    def get(self, path: str) -> Any:
        """The body of a request that must succeed."""
        status, body, _ = self.ask("GET", path)
        assert status == 200, body
        return body

    def post(self, path: str, body: Any) -> Any:
        """The body of a request that must succeed."""
        status, answer, _ = self.ask("POST", path, body)
        assert status == 200, answer
        return answer

    def filter(self, user: str, candidates: list[str], **more: Any) -> Any:
        """POST /v1/filter."""
        return self.post("/v1/filter", {"user": user, "candidates": candidates, **more})

    def metrics(self) -> dict[str, float]:
        """Name with labels -> value."""
        lines = self.get("/metrics").decode().replace('{surface=""}', "").splitlines()  # none and an empty one are one
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}


@contextlib.contextmanager
def serving(snapshots: Path, **settings: Any) -> Iterator[Client]:
    """A service in this process, on a port of its own; it looks for new snapshots often, and its budget is generous."""
    chosen = {"poll_seconds": 0.05, "budget_ms": 10_000, **settings}
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        port = listening.getsockname()[1]
        server = uvicorn.Server(configured(Settings(snapshots=snapshots, **chosen)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            wait_for(lambda: server.started)
            yield Client(port)
        finally:
            server.should_exit = True
            thread.join()


def command(snapshots: Path) -> tuple[list[str], int]:
    """What starts a service in a process of its own, and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [sys.executable, "-m", "conrec", "serve", str(snapshots), "--port", str(port), "--budget-ms", "10000"], port


def is_ready(port: int) -> bool:
    try:
        return Client(port).ask("GET", "/readyz")[0] == 200
    except OSError:
        return False


def wait_for(condition: Any, seconds: float = 20.0) -> None:
    """Until the condition holds; AssertionError if it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def wait_for_page(client: Client) -> None:
    """Until the page knows the snapshot."""
    wait_for(lambda: client.get("/ui/about")["version"] is not None)
