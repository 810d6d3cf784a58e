"""Users and items as a person reads them."""

from dataclasses import dataclass

from conrec.filter.mutes import Mute, Suggestion


@dataclass(frozen=True)
class ItemView:
    """An item as a person reads it."""

    item_id: str
    title: str
    category: str | None
    codes: tuple[int, ...]


@dataclass(frozen=True)
class PredictionView:
    """A predicted dislike, and the past dislike that it is most like (None: there is none)."""

    item: ItemView
    past_dislike: ItemView | None


@dataclass(frozen=True)
class UserView:
    """What the snapshot knows of a user."""

    user: str
    dislikes: list[ItemView]
    """Whatever the reason, newest first, without those taken back."""
    undone: list[ItemView]
    """In the order in which they were taken back."""
    liked: list[ItemView]
    predicted: list[PredictionView]
    """Best first, without what followed from a dislike taken back."""
    mutes: list[Mute]
    suggestions: list[Suggestion]
    """What the user may want to mute."""
