"""Cluster bootstrap: 95 % intervals by resampling users, since a user's instances are not independent."""

from dataclasses import dataclass

import numpy as np

from conrec.evaluate.results import Verdict

LEVEL = 0.95
DRAWS_AT_ONCE = 50


@dataclass(frozen=True)
class Estimate:
    """A mean over instances with its 95 % percentile interval."""

    mean: float | None
    """None where no instance counts."""
    low: float | None
    high: float | None
    instances: int

    @property
    def significant(self) -> bool:
        """Whether the interval does not hold 0; for a difference."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def verdict(self) -> Verdict:
        if not self.significant or self.mean is None:
            return "not significant"
        return "better" if self.mean > 0 else "worse"


def bootstrap(users: np.ndarray, values: np.ndarray, draws: int = 1000, seed: int = 0) -> list[Estimate]:
    """Cluster bootstrap: draw as many users as there are, with replacement, take the mean over their instances.

    users: [I] owner of each instance; values: float [I, C], NaN where it does not count. One estimate a column; all
    columns share the draws. A draw in which no instance of a column came up is left out of that column's interval.
    """
    if not len(users):
        return [Estimate(None, None, None, 0) for _ in range(values.shape[1])]
    names, owner = np.unique(users, return_inverse=True)
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(len(names)))
    counts = ~np.isnan(values)
    # Per user the sum and the number of what counts: [U, 2C], so that a draw is one row of a matrix product.
    table = np.add.reduceat(np.hstack([np.where(counts, values, 0), counts])[order], starts, axis=0)
    generator = np.random.default_rng(seed)
    means = []
    for start in range(0, draws, DRAWS_AT_ONCE):
        size = min(DRAWS_AT_ONCE, draws - start)
        drawn = generator.integers(len(names), size=(size, len(names))) + np.arange(size)[:, None] * len(names)
        times = np.bincount(drawn.ravel(), minlength=size * len(names)).reshape(size, len(names))
        sums, numbers = np.split(times @ table, 2, axis=1)
        means.append(np.divide(sums, numbers, out=np.full_like(sums, np.nan), where=numbers > 0))
    sampled = np.concatenate(means)
    return [_estimate(values[counts[:, n], n], sampled[:, n]) for n in range(values.shape[1])]


def _estimate(values: np.ndarray, sampled: np.ndarray) -> Estimate:
    """The mean of the data itself, with the percentiles of the resampled means."""
    if not len(values) or np.isnan(sampled).all():
        return Estimate(None, None, None, len(values))
    return Estimate(float(values.mean()), *interval(sampled), len(values))


def interval(sampled: np.ndarray) -> tuple[float, float]:
    """Both ends of the 95 % percentile interval of resampled figures, float [draws], those that are NaN left out."""
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(sampled, [tail, 1 - tail])
    return float(low), float(high)
