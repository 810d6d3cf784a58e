"""The item features of a recipe, by name."""

from collections.abc import Callable

import numpy as np

from conrec.config import PredictConfig
from conrec.data.instances import Instances
from conrec.data.knowledge import Knowledge
from conrec.features.co_dislikes import CoDislikes
from conrec.features.ease import Ease
from conrec.features.exposures import USUAL, ExposureLikelihood, Weights
from conrec.features.item_features import CoDislikeScore, ContentSimilarity, ItemFeature, Prior
from conrec.features.log_view import LogView
from conrec.features.sequence import Sequence
from conrec.score.history import HistoryScore
from conrec.score.propensity import Propensity


def list_features(
    config: PredictConfig, log_view: LogView, knowledge: Knowledge, exposures: Weights, history: HistoryScore | None
) -> dict[str, ItemFeature]:
    """Those that `predict.features` names, and the prior where it takes part, on what is known of this log.

    knowledge: of the same log. exposures: weights of the exposure likelihood (`learn_exposures`). history: without it
    there is no propensity.
    """
    items, events, known_users = log_view.items, log_view.events, log_view.train_users
    make: dict[str, Callable[[], ItemFeature]] = {
        "content_similarity": lambda: ContentSimilarity(log_view.content),
        "co_dislike_score": lambda: CoDislikeScore(CoDislikes(events, len(items), known_users)),
        "ease": lambda: Ease(log_view),
        "sequence": lambda: Sequence(log_view),
        "exposure": lambda: ExposureLikelihood(items, events, known_users, exposures),
        "attribute": lambda: log_view.attribute_rates,
    }
    if history is not None:
        make["propensity"] = lambda: Propensity(history, log_view)
    found: dict[str, ItemFeature] = {name: make[name]() for name in config.features if name in make}
    if config.prior:
        found["prior"] = Prior(knowledge, config.prior_days, config.prior_smoothing)
    return found


def learn_exposures(
    config: PredictConfig, log_view: LogView, train: Instances, horizon: np.timedelta64, end: np.datetime64 | None
) -> Weights:
    """The weights of the exposure likelihood, from training instances, where the recipe uses it.

    end: of the training period in a split by time; what was shown after it may not be learned from.
    """
    if "exposure" not in config.features:
        return USUAL
    if end is not None:
        train = train.take(np.flatnonzero(train.cutoffs + horizon <= end))
    return ExposureLikelihood(log_view.items, log_view.events, log_view.train_users).learn(train, horizon)
