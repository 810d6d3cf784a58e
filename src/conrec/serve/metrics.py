"""What the service counts for Prometheus (`GET /metrics`)."""

import time
import tomllib
from functools import cache
from importlib.resources import files

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Bounds of the latency histograms: fine around the promised 5 ms."""
LISTS: dict[str, str] = tomllib.loads((files(__package__) / "metrics.toml").read_text("utf-8"))["lists"]
"""What is counted of lists, by surface; Prometheus takes the empty name for no label."""


class Metrics:
    """One set of counters a service, in a registry of its own, so that two services in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"conrec_{name}", text, labels, registry=self.registry)

        def gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(f"conrec_{name}", text, labels, registry=self.registry)

        self.requests = counter("requests", "HTTP requests", ("route", "status"))
        about = "Seconds from the arrival of a request to its answer"
        self.seconds = Histogram("conrec_request_seconds", about, ("route",), buckets=SECONDS, registry=self.registry)
        self._lists = {name: counter(name, text, ("surface",)) for name, text in LISTS.items()}
        self._of_surface = cache(lambda name, surface: self._lists[name].labels(surface))
        self.count("", **dict.fromkeys(LISTS, 0))
        self.fail_open = counter("fail_open", "Lists that passed for an inner cause", ("cause",))
        self.feedback = counter("feedback", "Dislikes and undos that were sent here, repeated ones too", ("kind",))
        self.swaps = counter("snapshot_swaps", "Snapshots that were taken into use, or refused", ("result",))
        causes, kinds, results = ("error", "budget", "no_snapshot"), ("dislike", "undo"), ("taken", "refused")
        for one, labels in ((self.fail_open, causes), (self.feedback, kinds), (self.swaps, results)):
            for label in labels:
                one.labels(label)
        self.snapshot = gauge("snapshot", "1 for the snapshot in use", ("version",))
        self.age = gauge("snapshot_age_seconds", "Seconds since the snapshot in use was published")
        self.problem = gauge("problem", "1 where something is wrong that /readyz names")
        self.ready = gauge("ready", "1 where a snapshot is in use")

        self._of_answer: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request; `route` is a pattern of ours, never a path that somebody sent."""
        if (route, status) not in self._of_answer:  # finding them by label takes longer than counting
            self._of_answer[route, status] = self.requests.labels(route, str(status)), self.seconds.labels(route)
        requests, histogram = self._of_answer[route, status]
        requests.inc()
        histogram.observe(seconds)

    def count(self, surface: str, **counts: int) -> None:
        """Count what LISTS names; the surface's name is an operator's, never one that somebody sent."""
        for name, number in counts.items():
            self._of_surface(name, surface).inc(number)

    def snapshot_in_use(self, version: str, published: float) -> None:
        """Note the snapshot in use; `published` in seconds since 1970."""
        self.snapshot.clear()
        self.snapshot.labels(version).set(1)
        self.age.set_function(lambda: max(0.0, time.time() - published))
        self.ready.set(1)

    def text(self) -> bytes:
        return generate_latest(self.registry)
