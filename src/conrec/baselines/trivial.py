"""The systems that need no training: every table has them."""

from __future__ import annotations

from conrec.baselines.base import Recommender
from conrec.baselines.category_rule import CategoryRule
from conrec.baselines.co_dislikes import CoDislikes
from conrec.baselines.content_neighbours import ContentNeighbours
from conrec.baselines.popularity import ItemPrior, Popularity
from conrec.baselines.rates import Bias, ItemRate, UserRate
from conrec.baselines.with_prior import WithPrior

DECAY_DAYS = 30.0


def trivial_systems(prior_days: float, prior_smoothing: float) -> list[Recommender]:
    """Baselines for lists of items; those with a `+prior` in their name want `tune` on validation first."""
    plain: list[Recommender] = [
        CategoryRule(),
        CategoryRule(DECAY_DAYS),
        ContentNeighbours("catalog"),
        ContentNeighbours("input"),
        CoDislikes(),
    ]
    return [
        *(Popularity(days) for days in (7, 14, 30, None)),
        ItemPrior(prior_days, prior_smoothing),
        *plain,
        *(WithPrior(system, prior_days, prior_smoothing) for system in plain),
    ]


def filter_systems() -> list[Recommender]:
    """Baselines for the filter replay."""
    return [
        Popularity(14),
        CategoryRule(),
        CategoryRule(DECAY_DAYS),
        ContentNeighbours("catalog"),
        ContentNeighbours("input"),
        UserRate(),
        ItemRate(),
        Bias(),
    ]
