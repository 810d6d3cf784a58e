"""What the filter decides of one list, in Python and over the wire: one definition of what both hold."""

import html
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

import numpy as np
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
    candidates: Sequence[str] = field(default=(), repr=False, compare=False)
    """What was asked about, in the order given."""

    _scores: Any = field(init=False, repr=False, compare=False)

    @property  # type: ignore[misc]
    def scores(self) -> Sequence[float | None]:
        """See `Decided`; numbers are made of an array (nan: None) when they are asked for."""
        if isinstance(self._scores, np.ndarray):
            self._scores = [None if score != score else score for score in self._scores.tolist()]
        found: Sequence[float | None] = self._scores
        return found

    @scores.setter
    def scores(self, scores: Any) -> None:
        self._scores = scores

    @cached_property
    def why(self) -> list[Why | None]:
        """One a candidate, None for those that nothing speaks against; worked out when it is asked for."""
        reasons: list[Why | None] = [None] * len(self.scores)
        for position, why in self.explain() if self.explain else ():
            reasons[position] = why
        return reasons

    def _repr_html_(self) -> str:
        rows = [("candidate", "score", "", "why: what raised its score, and a past dislike that is alike")]
        for item, score, why in zip(self.candidates, self.scores, self.why):
            parts = why.contributions[:3] if why else ()
            told = [(part.name or part.kind) + (f" ({part.past_title})" if part.past_title else "") for part in parts]
            gone = "dropped" if item in self.would_drop else ""
            rows.append((item, "" if score is None else f"{score:.2f}", gone, "; ".join(told)))
        cells = ["".join(f"<td style='text-align: left'>{html.escape(cell)}</td>" for cell in row) for row in rows]
        return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"
