"""Stage: learn on the backtest windows of the training period how much each item feature counts."""

import numpy as np

from conrec.data.split import TimeSplit
from conrec.pipeline.job import Job
from conrec.progress import say
from conrec.score.backtest import backtests
from conrec.score.list_features import learn_exposures
from conrec.score.list_weights import learn_list_weights, prior_alone
from conrec.stages.prepare import CANDIDATES
from conrec.stages.score import read_history


def learn_weights(job: Job, left_out: bool = False) -> None:
    """Write `weights.json` (`ListWeights`). Nothing of validation or test is looked at.

    `left_out`: also the weights without each of the features.
    """
    recipe, log = job.recipe, job.log
    if not recipe.predict.features:
        return prior_alone(recipe.predict).save(job.out)
    view, split, history = log.view, log.split, read_history(job.of("score"))
    horizon = np.timedelta64(recipe.split.horizon_days, "D")
    end = split.validation_start if isinstance(split, TimeSplit) else None
    exposures = learn_exposures(recipe.predict, view, log.instances.of_split("train"), horizon, end)
    windows = backtests(view, split, recipe.split)
    events = view.events.take(split.may_learn(view.events))
    how = {"by_category": split.by_category, "left_out": left_out}
    found = learn_list_weights(recipe.predict, windows, events, exposures, history, CANDIDATES, job.seed, **how)
    found.save(job.out)
    parts = ", ".join(f"{name} {share:.4f}" for name, share in found.alone.items())
    say(f"weights: {found.cases:,} cases, FHR@{recipe.predict.k} {found.together:.4f} together; alone: {parts}")
