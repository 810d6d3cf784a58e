"""`conrec doctor`: what this machine has, what is missing, and whether torch works. One line each."""

import importlib.metadata
import os
import platform
import shutil
from importlib.util import find_spec
from pathlib import Path

from conrec import __version__
from conrec.errors import EXTRAS

NEEDED = ("numpy", "pyarrow", "numba")


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
    for name in NEEDED:
        print(f"{name:21} {_version(name) or 'MISSING: install again (make in the clone does)'}")
    for extra, modules in EXTRAS.items():
        gone = ", ".join(name for name in modules if find_spec(name) is None)
        advice = f"without {gone}; optional: pip install 'conrec[{extra}]'"
        print(f"extra {extra:15} {advice if gone else _version(modules[0]) or 'installed'}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    print(f"cores                 {cores}" + ("" if cores > 1 else "; the recipes are sized for two or more"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    little = "" if memory > 4 else "; little: take a smaller catalogue or model"
    print(f"memory                {memory:.1f} GB{little}")
    disk = shutil.disk_usage(Path.cwd()).free / 1e9
    print(f"disk                  {disk:.1f} GB free here" + ("" if disk > 2 else "; little: --out on another disk"))
    if torch := _version("torch"):
        _gpu()
    return (not torch or _torch_learns()) and all(map(_version, NEEDED))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _gpu() -> None:
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        print(f"gpu                   {name}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free, CUDA {torch.version.cuda}")
    else:
        how = f"for CUDA {torch.version.cuda}: look at the driver" if torch.version.cuda else "without CUDA"
        print(f"gpu                   none; torch is built {how}")


def _torch_learns() -> bool:
    """Whether steps down a gradient lower a loss; any exception is the finding, not a crash of the doctor."""
    try:
        import torch

        weight = torch.ones(8, requires_grad=True)
        optimiser = torch.optim.Adam([weight], lr=0.1)
        for _ in range(30):
            loss = weight.square().sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        good, found = loss.item() < 0.8, f"a loss of 8 is {loss.item():.3g}, with {torch.get_num_threads()} threads"
    except Exception as error:
        good, found = False, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    print(f"torch test            {'' if good else 'FAILS: '}{found}")
    return good
