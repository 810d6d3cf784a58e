"""Work in parts, one after another here or spread over a Ray cluster: the same function of the same parts.

Results come in the order of the parts, so what is made of them is the same either way. (To the last bit where each
process has one thread, as Ray gives it: `OMP_NUM_THREADS=1`.) On Ray every core of the cluster gets an actor, to which
the work is sent once. A part that was lost with its node is done again elsewhere.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeVar

from conrec.errors import extras_named
from conrec.progress import say, track

Engine = Literal["native", "ray"]
Part = TypeVar("Part")
Result = TypeVar("Result")

RESTARTS = 10
"""How often a worker that died is started again, and how often a part that it had is tried again."""
_engine: Engine = "native"


def use(engine: Engine) -> None:
    """What `map_parts` of this process works with from now on.

    `ray`: the cluster at RAY_ADDRESS, or one of this machine's cores. All machines must have conrec installed, and see
    the run folder under the same path. ConrecError where Ray is not installed.
    """
    global _engine
    _engine = engine
    if engine == "ray":
        with extras_named("--engine ray"):
            import ray
        if not ray.is_initialized():
            address = os.environ.get("RAY_ADDRESS", "local")  # else Ray would look for clusters of others
            ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        say(f"Ray: {len(ray.nodes())} machines, {int(ray.cluster_resources()['CPU'])} cores")


def map_parts(work: Callable[[Part], Result], parts: Sequence[Part], title: str) -> Iterator[Result]:
    """What the work makes of each part, in their order; `title` for the progress.

    On Ray the work is pickled once with all that it holds, and unpickled once a worker, where it may keep what it
    builds (`functools.cached_property`). A part should be small, such as a slice of indices. What a part raises is
    raised here.
    """
    if _engine == "native" or len(parts) < 2:
        yield from (work(part) for part in track(parts, title))
        return
    import ray
    from ray.exceptions import RayTaskError
    from ray.util import ActorPool

    shared = ray.put(work)
    worker = ray.remote(num_cpus=1, max_restarts=RESTARTS, max_task_retries=RESTARTS)(_Worker)
    cores = min(int(ray.cluster_resources()["CPU"]), len(parts))
    pool = ActorPool([worker.remote([shared]) for _ in range(cores)])
    found: Any = pool.map(lambda actor, part: actor.run.remote(part), list[Any](parts))
    try:
        yield from track(found, title, total=len(parts))
    except RayTaskError as error:
        raise error.cause from None


class _Worker:
    """A process of the cluster that holds the work."""

    def __init__(self, shared: list[Any]) -> None:
        import ray

        self._work = ray.get(shared[0])  # within a list it does not count as lost with a node

    def run(self, part: Any) -> Any:
        return self._work(part)
