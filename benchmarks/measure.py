"""Measurement of methods that do the same work, and what a bench reports.

All methods run in one process, in turns, so that a machine that slows down slows all of them; the ratio is taken turn
by turn. The clock of everything that runs on one thread is the CPU time of the process, which other programs disturb
least; what is meant to use all cores is timed by the wall. Growth of memory is taken in a fresh process for each.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conrec.errors import ConrecError
from conrec.progress import say

LIBRARIES = (
    "torch",
    "transformers",
    "trl",
    "numba",
    "duckdb",
    "faiss-cpu",
    "vector-quantize-pytorch",
    "numpy",
    "llama-cpp-python",
    "ctranslate2",
)

Work = Callable[[], object]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Result:
    """Result of a bench. A method is one manner of doing the work; `ours` and `lower bound` are two of them."""

    bench: str
    work: str
    """The work in one line, sizes included."""
    opponent: str
    """The method that `ratio` compares with."""
    ratio: float
    """How many times our seconds the opponent takes (in `rqvae`: how many times our error it makes)."""
    ratio_spread: tuple[float, float]
    """Smallest and largest of the turns."""
    exact: bool
    """Whether the opponent's results and ours are the same, to the tolerance that the bench names."""
    lower_bound_share: float
    """Lower bound over ours, 0 to 1: how much of our time is work that no method can avoid."""
    seconds: float
    """Ours, median."""
    methods: dict[str, list[float]]
    """Smallest, median and largest seconds of each method."""
    clock: str
    """`cpu` or `wall`."""
    targets: dict[str, bool]
    """Targets, and whether each was reached here; empty for work too small to judge by."""
    details: dict[str, Any]

    def json(self) -> dict[str, Any]:
        """All of it, with the machine and the versions."""
        return {**asdict(self), "machine": machine(), "versions": versions()}


def in_turns(
    methods: Mapping[str, Work], turns: int, clock: Callable[[], float] = time.process_time
) -> dict[str, np.ndarray]:
    """Seconds of each method, float [turns]: each once unmeasured, then all of them in turns."""
    for name, work in methods.items():
        say(f"{name}: first run, not measured")
        work()
    taken: dict[str, list[float]] = {name: [] for name in methods}
    for turn in range(turns):
        say(f"turn {turn + 1} of {turns}")
        for name, work in methods.items():
            begin = clock()
            work()
            taken[name].append(clock() - begin)
    return {name: np.array(seconds) for name, seconds in taken.items()}


def compared(
    taken: Mapping[str, np.ndarray],
    opponent: str,
    *,
    bench: str,
    work: str,
    exact: bool,
    clock: str = "cpu",
    against: str = "ours",
    targets: dict[str, bool] | None = None,
    details: dict[str, Any] | None = None,
) -> Result:
    """Result from the seconds of `ours`, `lower bound` and `opponent`; `against`: our method on the opponent's work."""
    ratio = ratios(taken, opponent, against)
    return Result(
        bench=bench,
        work=work,
        opponent=opponent,
        ratio=float(np.median(ratio)),
        ratio_spread=(float(ratio.min()), float(ratio.max())),
        exact=exact,
        lower_bound_share=float(np.median(ratios(taken, "lower bound"))),
        seconds=float(np.median(taken["ours"])),
        methods={name: spread(seconds) for name, seconds in taken.items()},
        clock=clock,
        targets=targets or {},
        details=details or {},
    )


def spread(values: np.ndarray) -> list[float]:
    """Smallest, median and largest."""
    return [float(values.min()), float(np.median(values)), float(values.max())]


def ratios(taken: Mapping[str, np.ndarray], opponent: str, ours: str = "ours") -> np.ndarray:
    """Opponent over ours, float [turns]."""
    return taken[opponent] / taken[ours]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch, BLAS and OpenMP on one thread each, so that CPU time is comparable."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def memory_growth(prepare: Callable[..., Work], *arguments: object) -> float | None:
    """MB by which a fresh process grows at most while it does a piece of work for the first time.

    `prepare` (a function of a module, called with `arguments` in that process) makes everything ready and returns
    the work. None where the system does not tell (only Linux does).
    """
    if sys.platform != "linux":
        return None
    grown: float = in_fresh_process(_growth, prepare, arguments)
    return grown


def in_fresh_process(work: Callable[..., Any], *given: Any) -> Any:
    """What a function of a module returns in a process of its own, which nothing before has warmed up or filled."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(work, *given).result()


def _growth(prepare: Callable[..., Work], arguments: tuple[object, ...]) -> float:
    with one_thread():
        work = prepare(*arguments)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew from what is resident now
        before = resident("VmRSS")
        work()
        return (resident("VmHWM") - before) / 1e6


def resident(name: str) -> float:
    """A figure of this process's memory (VmRSS: now; VmHWM: the peak) in bytes; only Linux tells."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name + ":"))
    return float(line.split()[1]) * 1024


def oracle(module: str) -> Any:
    """An opponent's module; ConrecError naming the extra where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ConrecError(
            f"{module.split('.')[0]} is not installed, which this bench compares with: pip install -e '.[oracle]'"
        ) from None


def machine() -> dict[str, Any]:
    """Processor, cores, memory and system."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_gb": round(memory, 1), "system": platform.system()}


def versions() -> dict[str, str]:
    """Python and the libraries that take part, as far as they are installed."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
