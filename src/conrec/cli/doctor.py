"""`conrec doctor`: what this machine has, what is missing, and whether torch works. One line each."""

import importlib.metadata
import os
import platform
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from conrec import __version__

EXTRAS = {"sentence-transformers": "encoders", "starlette": "serve", "redis": "redis", "trl": "oracle", "duckdb": "sql"}


def doctor() -> None:
    """Look at this machine: versions, cores, memory, disk, GPU, optional parts, and a short self-test.

    Exit status 1 if something that is needed does not work.

    Example: conrec doctor
    """
    if not examine():
        raise SystemExit(1)


def examine() -> bool:
    """Print one line a check to stdout; True if everything that is needed works."""
    print(f"conrec                {__version__}, Python {platform.python_version()}, {platform.platform()}")
    missing = "MISSING: install again (make in the clone does)"
    needed = [_library(name, missing) for name in ("torch", "transformers", "peft", "numpy", "pyarrow")]
    for name, extra in EXTRAS.items():
        _library(name, f"not installed; optional: pip install -e '.[{extra}]' in the clone")
    _machine()
    learns = _check("torch", _torch_learns)
    _gpu()
    return all(needed) and learns


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _library(name: str, advice: str) -> bool:
    version = _version(name)
    print(f"{name:21} {version or advice}")
    return version is not None


def _machine() -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    print(f"cores                 {cores}" + ("" if cores > 1 else "; the recipes are sized for two or more"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    advice = "" if memory > 4 else "; little: choose a smaller catalogue or model"
    print(f"memory                {memory:.1f} GB{advice}")
    disk = shutil.disk_usage(Path.cwd()).free / 1e9
    advice = "" if disk > 2 else "; little: use --out on another disk"
    print(f"disk                  {disk:.1f} GB free here{advice}")


def _gpu() -> None:
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        print(f"gpu                   {name}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free, CUDA {torch.version.cuda}")
    elif torch.version.cuda:
        print(
            f"gpu                   none found, though torch is built for CUDA {torch.version.cuda}: look at the driver"
        )
    else:
        print("gpu                   none, and torch is built without CUDA; the recipes that come along need none")


def _check(name: str, test: Callable[[], str]) -> bool:
    """Run a self-test; any exception is the finding, not a crash of the doctor."""
    start = time.monotonic()
    try:
        found, good = test(), True
    except Exception as error:
        found, good = f"FAILS: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", False
    print(f"{name + ' test':21} {found} ({time.monotonic() - start:.1f} s)")
    return good


def _torch_learns() -> str:
    """A few gradient steps must lower a loss."""
    import torch

    weight = torch.ones(8, requires_grad=True)
    optimiser = torch.optim.Adam([weight], lr=0.1)
    for _ in range(30):
        loss = weight.square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    if not loss < 0.8:
        raise RuntimeError(f"the loss went from 8 to {loss.item():.3g}")
    return f"learns, with {torch.get_num_threads()} threads"
