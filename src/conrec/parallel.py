"""Work in parts, one after another here or spread over a Ray cluster: the same function of the same parts.

Results come in the order of the parts, so what is made of them is the same either way. (To the last bit where each
process has one thread, as Ray gives it: `OMP_NUM_THREADS=1`.) On Ray every core of the cluster takes parts, and is sent
the work once. A part that was lost with its node is done again elsewhere.
"""

import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any, Literal, TypeVar

from conrec.errors import ConrecError, extras_named
from conrec.progress import say, track

Engine = Literal["native", "ray"]
Part = TypeVar("Part")
Result = TypeVar("Result")

RETRIES = 10
"""How often a part is tried again whose worker died."""
_engine: Engine = "native"
_held: tuple[str, Any] = "", None


def use(engine: Engine) -> None:
    """What `map_parts` of this process works with from now on.

    `ray`: the cluster at RAY_ADDRESS, or one of this machine's cores. All machines must have conrec installed, and see
    the run folder under the same path. ConrecError where Ray is not installed, or no cluster answers.
    """
    global _engine
    _engine = engine
    if engine == "ray":
        with extras_named("--engine ray"):
            import ray
        if not ray.is_initialized():
            address = os.environ.get("RAY_ADDRESS", "local")  # else Ray would look for clusters of others
            try:
                ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
            except Exception as error:  # Ray has many
                told = " ".join(str(error).split())[:200]
                raise ConrecError(f"--engine ray: no cluster at {address} ({told}); see `ray start`") from None
        say(f"Ray: {len(ray.nodes())} machines, {int(ray.cluster_resources()['CPU'])} cores")


def map_parts(
    work: Callable[[Part], Result],
    parts: Iterable[Part],
    title: str,
    *,
    total: int | None = None,
    threads: bool = False,
    gpu: bool = False,
) -> Iterator[Result]:
    """What the work makes of each part, in their order; `title` for the progress.

    On Ray the work is pickled once with all that it holds, and unpickled once a worker, where it may keep what it
    builds (`functools.cached_property`). A part should be small, such as some indices. What a part raises is raised
    here. total: how many parts there are, where they are made one by one. threads: the work holds no lock, and here all
    cores share the parts. gpu: a worker takes a GPU where the cluster has any.
    """
    total = len(parts) if isinstance(parts, Sized) else total
    if _engine == "native" or (total is not None and total < 2):
        if not threads:
            yield from (work(part) for part in track(parts, title, total=total))
            return
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            yield from track(pool.map(work, parts), title, total=total)
        return
    import ray
    from ray.exceptions import RayTaskError

    there, shared = ray.cluster_resources(), ray.put(work)
    gpus = int(there.get("GPU", 0)) if gpu else 0
    task: Any = ray.remote(num_cpus=1, num_gpus=min(gpus, 1), max_retries=RETRIES)(_run)
    waiting: deque[Any] = deque()

    def results() -> Iterator[Result]:
        for part in parts:
            waiting.append(task.remote(shared.hex(), [shared], part, os.getcwd()))
            if len(waiting) > 2 * (gpus or int(there["CPU"])):  # what is done early waits in memory
                yield ray.get(waiting.popleft())
        yield from map(ray.get, waiting)

    try:
        yield from track(results(), title, total=total)
    except RayTaskError as error:
        raise error.cause from None


def _run(key: str, shared: list[Any], part: Any, folder: str) -> Any:
    """A part on a worker, which keeps the last work that it was given."""
    global _held
    if _held[0] != key:
        import ray

        with contextlib.suppress(OSError):  # it may be elsewhere alone; then paths are absolute
            os.chdir(folder)  # relative paths, such as the run folder's, are those of the command
        _held = key, ray.get(shared[0])
    return _held[1](part)


def declared(one: Any) -> dict[str, Any]:
    """The fields of a dataclass, as its `__getstate__`: a worker works out again what was kept beside them."""
    return {each.name: getattr(one, each.name) for each in fields(one)}


class Memo(dict[Any, Any]):
    """What a function made of each key so far; unlike `functools.cache` it can be sent to a worker."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def __missing__(self, key: Any) -> Any:
        self[key] = made = self.function(key)
        return made

    __call__ = dict.__getitem__
