"""`conrec doctor`: what this machine has, or what of a run is damaged or stale. One line each."""

import importlib.metadata
import os
import platform
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from conrec import __version__
from conrec.errors import EXTRAS

NEEDED = ("numpy", "pyarrow", "numba")


@dataclass(frozen=True)
class Doctor:
    run: Annotated[Positional[Path | None], arg(metavar="DIR")] = None
    """A run folder: look at its stages and at DIR/snapshots instead."""


def doctor(args: Doctor) -> None:
    """Look at this machine: versions, cores, memory, disk, GPU, and a short self-test. Or at a run.

    Of a run it says which stages and snapshots are damaged (the digest is another), and which are stale (made from a
    log, or by settings, that have changed since). Exit status 1 if something is wrong.

    Example: conrec doctor (or, of a run: conrec doctor runs/mt)
    """
    found = []
    if args.run is not None:
        from conrec.deploy import refresh

        found = list(refresh.examine(args.run, args.run / "snapshots"))
        _tell("run", found)
    if any(told for _, told in found) or (args.run is None and not examine()):
        raise SystemExit(1)


def examine() -> bool:
    """Print one line a check to stdout; True if everything that is needed works."""
    about = f"{__version__}, Python {platform.python_version()}, {platform.platform()}"
    needed = {name: _version(name) for name in NEEDED}
    extras = {name: ([one for one in own if not find_spec(one)], _version(own[0])) for name, own in EXTRAS.items()}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    _tell("machine", about, needed, extras, cores, memory, shutil.disk_usage(Path.cwd()).free / 1e9)
    return (not _version("torch") or _torch_learns()) and all(needed.values())


def _tell(what: str, *about: Any) -> None:
    from conrec.report.texts import sentences

    print(getattr(sentences("cli/doctor.txt"), what)(*about))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _torch_learns() -> bool:
    """Whether steps down a gradient lower a loss; any exception is the finding, not a crash of the doctor."""
    try:
        import torch

        _tell("gpu", torch)
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
