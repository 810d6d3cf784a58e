"""CoNRec: learn what each user will dislike, and keep it out of what a recommender shows."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conrec.model import Model, fit, load

# Two libraries below report home when they are imported or started; whoever wants that sets these first.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

__version__ = "0.1.0"
__all__ = ["Model", "__version__", "fit", "load"]


def __getattr__(name: str) -> Any:
    """`fit`, `load` and `Model`, imported when they are asked for: they bring numpy and pyarrow along."""
    if name in ("fit", "load", "Model"):
        from conrec import model

        return getattr(model, name)
    raise AttributeError(f"module 'conrec' has no attribute {name!r}")
