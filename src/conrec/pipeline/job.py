"""What a stage is called with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conrec.config import Recipe
from conrec.data.pseudonyms import Pseudonyms
from conrec.data.sources import Tables

if TYPE_CHECKING:
    from conrec.features.prepared_log import PreparedLog


@dataclass(frozen=True)
class Job:
    """One call of a stage: its settings, the folders that it reads, and the one that it writes."""

    recipe: Recipe
    """Shows the settings that the stage declares, and raises `UndeclaredSetting` for all others."""
    out: Path
    """Where it writes; there from the beginning. It may hold what a call that died left behind."""
    seed: int
    """Of this call; 0 for a stage that knows no seeds."""
    folders: Mapping[str, tuple[Path, ...]]
    """Those of the stages named in `Stage.after`. A stage without seeds gets one for each seed."""
    log: PreparedLog
    """What `prepare` and `compress` wrote; all stages of a run share it, so that the log is parsed once."""
    data: Path | Tables | None = None
    images: Path | None = None
    pseudonyms: Pseudonyms | None = None
    """What stands for the ids of the log; None: they do."""

    def of(self, stage: str) -> Path:
        """The folder of an earlier stage: the only one, or that of this call's seed."""
        (folder,) = self.folders[stage]
        return folder

    def of_seeds(self, stage: str) -> list[Path]:
        return list(self.folders[stage])
