"""What goes over the wire: one definition reads, checks, writes and documents it (msgspec).

500 ids are read and checked in 25 us; models of the web framework would take several times that on the hot path.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from conrec.data.schema import REASONS
from conrec.filter.contributions import Why
from conrec.filter.decision import Decided
from conrec.filter.guardrails import Mode
from conrec.filter.mutes import Mute, Suggestion
from conrec.filter.views import ItemView, UserView


class FilterRequest(Struct, forbid_unknown_fields=True):
    """One user and the candidates that the ranker wants to show."""

    user: Annotated[str, Meta(min_length=1)]
    candidates: Annotated[list[str], Meta(description="Item ids, best first; their order is kept.")]
    threshold: Annotated[float | None, Meta(description="Drop what scores above. null: as calibrated.")] = None
    dry_run: Annotated[bool | None, Meta(description="Score, but drop nothing. null: as the service is set.")] = None
    want: Annotated[Annotated[int, Meta(ge=0)] | None, Meta(description="Keep at most so many. null: all.")] = None
    mode: Annotated[Mode | None, Meta(description="demote: the order changes by how likely a dislike is.")] = None
    relevance: Annotated[list[float] | None, Meta(description="Demote by this, as log-odds. null: by position.")] = None
    replace: Annotated[bool, Meta(description="Fill up to `want`: what they liked, then the least disliked.")] = False
    surface: Annotated[str | None, Meta(description="Where it is shown: a name with a threshold or limits.")] = None


@dataclass
class FilterAnswer(Decided):
    """What to show, and why the rest is left out."""

    why: Annotated[
        dict[str, Why],
        Meta(description="For each over the threshold, rejected or muted: what raised its score, largest first."),
    ] = field(default_factory=dict)
    fail_open: Annotated[
        str | None,
        Meta(description="Why everything passes unfiltered: error, budget or no_snapshot. null: it was filtered."),
    ] = None


class BatchRequest(Struct, forbid_unknown_fields=True):
    """Several lists at once."""

    requests: list[FilterRequest]


class BatchAnswer(Struct):
    """One answer a request, in the same order."""

    answers: list[FilterAnswer]


Id = Annotated[str, Meta(min_length=1)]
Moment = Annotated[datetime | None, Meta(description="When, ISO 8601 (without a zone: UTC). null: now.")]
Reason = Annotated[str | None, Meta(description=f"One of {', '.join(REASONS)}; null: not said.")]


class UndoRequest(Struct, forbid_unknown_fields=True):
    """A dislike that the user undoes."""

    item: Id
    time: Moment = None


class DislikeRequest(UndoRequest, forbid_unknown_fields=True):
    """What a user does not want to see."""

    reason: Reason = None


class FeedbackEvent(DislikeRequest, forbid_unknown_fields=True, kw_only=True):
    """A dislike or an undo, as a feed delivers it."""

    id: Annotated[str, Meta(min_length=1, description="An event whose id was there before is passed over.")]
    user: Id
    kind: Literal["dislike", "undo"] = "dislike"


class FeedbackRequest(Struct, forbid_unknown_fields=True):
    """Any number of events, in any order; all are taken, or none."""

    events: list[FeedbackEvent]


class FeedbackAnswer(Struct):
    """What became of events."""

    new: int
    repeated: Annotated[int, Meta(description="Those whose id was there before.")]


class Muted(Struct):
    """What a user muted, and what suggests itself."""

    mutes: list[Mute]
    suggestions: list[Suggestion]


class Problem(Struct):
    """What was wrong with a request, in one line."""

    error: str


class Health(Struct):
    """Whether the service is there, and what it works with."""

    status: str
    version: str | None = None
    problem: str | None = None


class Known(Struct):
    """What is known of a user; null: nothing."""

    view: UserView | None


@dataclass(frozen=True)
class Shown(ItemView):
    """An item that the page offers to a user."""

    outcome: Annotated[str | None, Meta(description="What the user then did: disliked, liked; null: nothing known.")]


class ShownList(Struct):
    """Candidates for the page, and where they are from."""

    source: Annotated[str, Meta(description="shown (really, to this user) or sample.")]
    since: str | None
    until: str | None
    known: Annotated[bool, Meta(description="The snapshot was made later: it knows what came of these exposures.")]
    items: list[Shown]


class UserIds(Struct):
    """Users that were found."""

    users: list[str]


class Prefix(Struct):
    """A prefix of semantic IDs, and what tells it from the others."""

    prefix: list[int]
    items: int
    words: list[str]
    categories: Annotated[list[tuple[str, float]], Meta(description="The most frequent ones, with their shares.")]
    examples: Annotated[list[str], Meta(description="Ids of items with a picture.")]


class Branch(Struct):
    """What is under a prefix: longer prefixes, or items where only the last code is left; or items with some words."""

    prefixes: list[Prefix]
    items: list[ItemView]


class About(Struct):
    """What the service works with."""

    version: str | None
    problem: str | None = None
    published: str | None = None
    users: int = 0
    items: int = 0
    levels: int = 0
    threshold: float | None = None
    calibration: dict[str, Any] | None = None
    trade_off: dict[str, Any] | None = None
    min_keep: int = 0
    max_drop_share: float = 0
    dry_run: bool = False
    modes: Annotated[dict[str, Mode], Meta(description="surface (the empty name: all others) -> mode.")] = {}
    pictures: bool = False
    report: bool = False


encode = msgspec.json.Encoder().encode
"""A value as JSON."""
