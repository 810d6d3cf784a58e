"""What the filter decides of one list, in Python and over the wire: one definition of what both hold."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated

from msgspec import Meta

from conrec.filter.contributions import Why

Ids = list[str]


@dataclass
class Decided:
    """Which of one user's candidates to show, and what becomes of the others."""

    kept: Annotated[Ids, Meta(description="Show these: in the order given or, demoted, in a new one; then `filled`.")]
    dropped: Annotated[Ids, Meta(description="In the order given, for the score and for good; empty in a dry run.")]
    scores: Annotated[Sequence[float | None], Meta(description="One a candidate, higher = rather disliked, or null.")]
    version: Annotated[str | None, Meta(description="The snapshot that decided.")] = None
    would_drop: Annotated[Ids, Meta(description="What a dry run would have dropped.")] = field(default_factory=list)
    probabilities: Annotated[list[float | None], Meta(description="Demoted: of a dislike, one a candidate.")] = field(
        default_factory=list
    )
    threshold: Annotated[float | None, Meta(description="The one for all; null: none, or one a segment.")] = None
    never_again: Annotated[Ids, Meta(description="Those that go, or would, as the user rejected them.")] = field(
        default_factory=list
    )
    muted: Annotated[Ids, Meta(description="Those of the rest that go for a mute, or would.")] = field(
        default_factory=list
    )
    kept_by_limit: Annotated[int, Meta(description="Had to go, but kept so that enough remain.")] = 0
    filled: Annotated[Ids, Meta(description="Of those kept, what stands in for others.")] = field(default_factory=list)
    short: Annotated[int, Meta(description="So many fewer than wanted are kept.")] = 0
    send: Annotated[int | None, Meta(description="So many candidates fill 19 lists of 20. null: unknown.")] = None
    unknown_user: bool = False
    unknown_items: int = 0
    exempt: bool = False
    dry_run: bool = False


@dataclass
class Decision(Decided):
    """A decision in Python. `would_drop` is the same as `dropped` where it is no dry run."""

    explain: Callable[[], Iterator[tuple[int, Why]]] | None = field(default=None, repr=False, compare=False)

    @cached_property
    def why(self) -> list[Why | None]:
        """One a candidate, None for those that nothing speaks against; worked out when it is asked for."""
        reasons: list[Why | None] = [None] * len(self.scores)
        for position, why in self.explain() if self.explain else ():
            reasons[position] = why
        return reasons
