"""Several processes that train together, as `torchrun` or `accelerate launch` starts them (docs/engine.md).

Who this process is says the environment that both set, so asking costs nothing. The main process does everything;
the others join in where a stage trains, and wait elsewhere. They must see the same run folder.
"""

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta

PATIENCE = timedelta(days=7)
"""How long the others wait while the main process is alone at work (a process that dies ends all at once)."""

_alone = False
_connected = False


def count() -> int:
    """How many processes work together now."""
    return 1 if _alone else int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process."""
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """Whether this is the process that writes files and speaks."""
    return rank() == 0


def local_rank() -> int:
    """The number of this process among those on this machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """The main process works by itself: what it trains meanwhile it does not share."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def agree(value: bool) -> bool:
    """What the main process says, in every process; each must call it."""
    if count() == 1:
        return value
    import torch
    from accelerate import PartialState

    # Without `cpu` Accelerate would leave processes without a GPU unconnected, each training by itself.
    state = PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)
    global _connected
    _connected = True
    said = torch.tensor([int(value)], device=state.device)
    torch.distributed.broadcast(said, 0)
    return bool(said.item())


def leave() -> None:
    """Let go of the other processes, if there are any: the work is done."""
    if _connected:
        import torch

        torch.distributed.destroy_process_group()
