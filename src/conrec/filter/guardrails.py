"""Rules of the filter: what goes whatever its score, and how much may go: never a whole list, nothing in a dry run."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from conrec.filter.decision import Decision

NeverAgain = Literal["item", "near", "off"]
Mode = Literal["drop", "demote"]
"""What a score does: candidates over the threshold go, or all stay and the order changes."""


@dataclass(frozen=True)
class Limits:
    """The limits that an operator sets."""

    min_keep: int = 1
    """At least this many candidates stay (all of a shorter list)."""
    max_drop_share: float = 0.5
    """At most this share of a list goes for its score (rounded down)."""
    dry_run: bool = False
    """Score and count, but drop nothing."""
    never_again: NeverAgain = "item"
    """What a user rejected is out whatever its score; `near`: and what is nearly the same; `off`: only the score
    counts."""
    never_again_days: float | None = None
    """For so many days; None: for good."""
    mode: Mode = "drop"
    """That of a request which names none."""

    def __post_init__(self) -> None:
        for name, kind in (("never_again", NeverAgain), ("mode", Mode)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, not {getattr(self, name)}")
        if self.never_again_days is not None and not self.never_again_days > 0:
            raise ValueError(f"never_again_days must be above 0, not {self.never_again_days}")
        if self.min_keep < 0:
            raise ValueError(f"min_keep must be 0 or more, not {self.min_keep}")
        if not 0 <= self.max_drop_share <= 1:
            raise ValueError(f"max_drop_share must lie between 0 and 1, not {self.max_drop_share}")

    def may_drop(self, candidates: int) -> int:
        # 0.29 * 100 is 28.999999999999996 in floating point and means 29.
        by_share = int(self.max_drop_share * candidates + 1e-9)
        return max(0, min(by_share, candidates - self.min_keep))

    def drop(
        self, decision: Decision, over: np.ndarray, excess: np.ndarray, again: Collection[int], muted: Collection[int]
    ) -> np.ndarray:
        """Let go what may: first of the candidates rejected before (`again`) and the muted ones, then of those over
        the threshold (`over` and `excess` as in `furthest_over`); their positions, int [k]."""
        count = len(decision.kept)
        hard = {*again, *muted}
        out = np.array(sorted(hard), np.int64)
        if hard:
            out = furthest_over(out, np.zeros(len(hard)), max(0, count - self.min_keep))
            others = np.array([position not in hard for position in over.tolist()], bool)
            over, excess = over[others], excess[others]
        left = min(self.may_drop(count), max(0, count - self.min_keep) - len(out))
        positions = furthest_over(over, excess, left)
        positions = np.sort(np.concatenate([out, positions])) if len(out) else positions
        goes = positions.tolist()
        decision.kept_by_limit = len(hard) + len(over) - len(goes)
        for position in out.tolist():
            (decision.never_again if position in again else decision.muted).append(decision.kept[position])
        decision.would_drop = [decision.kept[position] for position in goes]
        if not decision.dry_run:
            decision.dropped = decision.would_drop
            for position in reversed(goes):
                del decision.kept[position]
        return positions


@dataclass(frozen=True)
class Guardrails(Limits):
    """The limits everywhere, and what differs."""

    exempt: frozenset[str] = frozenset()
    """Users for whom nothing is scored or dropped."""
    surfaces: Mapping[str, Limits] = field(default_factory=dict)
    """The limits on a surface, such as a home page or a mail, in place of these."""


def furthest_over(over: np.ndarray, excess: np.ndarray, at_most: int) -> np.ndarray:
    """Which of the candidates over their threshold go: the `at_most` furthest over it, as positions in ascending order.

    over: int [o], positions in the ranked list, ascending; excess: float [o], by how much each is over. Of equals the
    one that the ranker placed lower goes first.
    """
    if len(over) <= at_most:
        return over
    # lexsort sorts by its last key first.
    order = np.lexsort((-over, -excess))
    return np.sort(over[order[:at_most]])
