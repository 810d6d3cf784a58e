"""Metrics of the protocol, one value per instance: the mask says who counts, the value what counts.

Each metric is a pure function that returns (mask bool [B], value float32 [B]); the mean over the mask is the metric.
Hits are counted on items: `lists` is int32 [B, k] of item rows, best first, -1 where a system had no more to say
(-1 never hits). Averages, intervals and seeds are `evaluate.bootstrap`'s.
"""

import numpy as np

from conrec.data.instances import Instances, Ragged
from conrec.data.knowledge import Knowledge

LONG_TAIL_USER = 3
"""Users with fewer dislikes before the cutoff (and at least one) are long-tail (paper: "fewer than three")."""

Metric = tuple[np.ndarray, np.ndarray]


def hit_rate(lists: np.ndarray, instances: Instances) -> Metric:
    """HR@k: `next` is in the list. Counted: instances with a dislike before the cutoff."""
    hit = (lists == instances.next[:, None]) & (lists >= 0)
    return instances.n_dislikes >= 1, hit.any(axis=1).astype(np.float32)


def future_hit_rate(lists: np.ndarray, instances: Instances) -> Metric:
    """FHR@k: any dislike within the horizon is in the list. Counted: instances with a dislike before the cutoff."""
    return instances.n_dislikes >= 1, hit_any(lists, instances.future)


def candidate_accuracy(scores: np.ndarray, instances: Instances) -> Metric:
    """CandAcc: the true next dislike has the best score of its candidates.

    scores: float [B, c], the true one first; a row of NaN has no candidates. Where m candidates share the best score
    and the true one is among them it counts 1/m: what choosing one of them blindly would give, so that a system that
    scores everything alike gets 1/c. -inf is a score like any other. Counted: instances with candidates and a
    dislike before the cutoff.
    """
    there = ~np.isnan(scores).any(axis=1) if scores.shape[1] else np.zeros(len(scores), bool)
    value = np.zeros(len(scores), np.float32)
    if there.any():
        tops = scores[there] == scores[there].max(axis=1, keepdims=True)
        value[there] = tops[:, 0] / tops.sum(axis=1)
    return there & (instances.n_dislikes >= 1), value


def hit_any(lists: np.ndarray, wanted: Ragged) -> np.ndarray:
    """float32 [B]: 1 where any of `wanted` (item rows per instance) is in the instance's list; 0 for no wanted."""
    return (hit_share(lists, wanted) > 0).astype(np.float32)


def hit_share(lists: np.ndarray, wanted: Ragged) -> np.ndarray:
    """float32 [B]: which share of `wanted` (item rows per instance) is in the instance's list."""
    width = 1 + max(int(lists.max(initial=-1)), int(wanted.values.max(initial=-1)))
    keys = (np.arange(len(lists))[:, None] * width + lists)[lists >= 0]
    hits = np.isin(wanted.owners * width + wanted.values, keys)
    return (np.bincount(wanted.owners[hits], minlength=len(lists)) / np.maximum(wanted.lengths, 1)).astype(np.float32)


def rare_future(instances: Instances, knowledge: Knowledge) -> Ragged:
    """Long-tail items among each instance's future dislikes: fewer than five known dislikes before the cutoff."""
    owners, values = instances.future.owners, instances.future.values
    keep = np.zeros(len(values), bool)
    for cutoff in np.unique(instances.cutoffs):
        here = instances.cutoffs[owners] == cutoff
        keep[here] = knowledge.long_tail(cutoff)[values[here]]
    return instances.future.where(keep)


def all_metrics(
    lists: np.ndarray, instances: Instances, rare: Ragged, candidates: dict[str, np.ndarray] | None = None
) -> dict[str, Metric]:
    """Every metric by its published name (`HR@20`, ...), with k the width of the lists.

    LUF is FHR of users with one or two dislikes before the cutoff, ZUF of users with none, but positives. Recall is the
    share of the future dislikes in the list, LikesKept that of the future positives which are not in it. rare: the
    future dislikes that are long-tail items (`rare_future`); candidates: name of the figure (`CandAcc`,
    `CandAcc_filter`) -> scores [B, c].
    """
    k, hit = lists.shape[1], hit_any(lists, instances.future)
    warm, few = instances.n_dislikes >= 1, instances.n_dislikes < LONG_TAIL_USER
    liked = instances.future_positives
    metrics = {
        f"HR@{k}": hit_rate(lists, instances),
        f"FHR@{k}": (warm, hit),
        f"LUF@{k}": (warm & few, hit),
        # A hit on a common item does not count, and instances count that have a rare future dislike.
        f"LIF@{k}": (warm & (rare.lengths > 0), hit_any(lists, rare)),
        f"ZUF@{k}": (~warm & (instances.n_positives > 0), hit),
        f"Recall@{k}": (warm, hit_share(lists, instances.future)),
        f"LikesKept@{k}": (warm & (liked.lengths > 0), 1 - hit_share(lists, liked)),
    }
    for name, scores in (candidates or {}).items():
        metrics[name] = candidate_accuracy(scores, instances)
    return metrics
