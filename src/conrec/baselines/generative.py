"""Generative baselines (P5-CID, TIGER, LC-Rec): the next dislike is spelled out code by code behind a history.

They differ in the codes, in the model and in what it is trained on. Everything else is the same for all, and the
same as for CoNRec: training on each dislike with the history before it, the candidate pool as a trie, the item prior
inside the normalisation (so that what is learned is how a user departs from what everybody dislikes that day), its
exponent in decoding chosen on validation, beam search with one pass of the history a user.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import torch

from conrec.baselines.base import SUFFIX, Recommender, Settings, TrainingData
from conrec.config import PredictConfig, UtilizeConfig
from conrec.data.instances import Instances, Ragged, evenly, with_dislikes
from conrec.decode.predict_items import predict_items, score_items
from conrec.decode.prompt_dataset import Decoding, PromptDataset, pool_of_days
from conrec.decode.trie import Trie
from conrec.evaluate.metrics import candidate_accuracy, future_hit_rate, hit_any, hit_rate
from conrec.features.sizes import Inputs, Sizes
from conrec.lm.model import load_trained_state, trained_state
from conrec.lm.policy import AnswerModel
from conrec.train.warmup import reachable, warm_up

WEIGHTS = (0.5, 1.0, 1.5, 2.0)
"""Exponents of the prior to choose from; for candidates also 0."""
K = 20
"""Length of the lists on which the best epoch is chosen."""
EPOCH = 10_000
"""Training instances of an epoch at most: on a large log `epochs` counts parts of a pass, but each instance is seen."""
VALIDATION_USERS = 1000
"""At most so many instances of validation are looked at after an epoch."""
TUNING_INSTANCES = 2000
"""At most so many of them choose the prior's exponents."""


class Generative(Recommender):
    """A model of codes behind histories.

    A subclass sets `codes` (int [items, levels]), `policy` and `pad` in `build`, and writes `prompts`.
    """

    codes: np.ndarray
    policy: AnswerModel
    pad: int
    sizes = Sizes()
    needs: ClassVar[tuple[str, ...]] = ("prior_days", "prior_smoothing")
    quick: ClassVar[Settings] = {"epochs": 0.5, "beams": 20}
    adds_prior = False

    def __init__(
        self,
        inputs: Inputs = "dislikes",
        *,
        prior_days: float,
        prior_smoothing: float,
        batch: int = 64,
        beams: int = 100,
        max_dislikes: int = 20,
        max_positives: int = 20,
        seed: int = 0,
        **sizes: Any,
    ) -> None:
        """`sizes`: fields of `Sizes` other than the class's own."""
        self.name += SUFFIX[inputs]
        self.positives, self.seed = inputs == "dislikes+likes", seed
        self.prior: dict[str, Any] = {"days": prior_days, "smoothing": prior_smoothing}
        self.sizes, self.batch, self.beams = replace(self.sizes, **sizes), batch, beams
        self.max_dislikes, self.max_positives = max_dislikes, max_positives
        self.weight = self.candidate_weight = 1.0

    @abstractmethod
    def build(self, folder: Path) -> None:
        """Set `codes`, `policy` and `pad` from `known`; train what goes before the histories."""

    @abstractmethod
    def prompts(self, instances: Instances) -> Ragged:
        """Token ids of each instance's history."""

    def fit(self, known: TrainingData) -> None:
        """Learn each training instance's next dislike from the history before it."""
        super().fit(known)
        sizes = self.sizes
        self._best_figure = -1.0
        self._best_weights: dict[str, torch.Tensor] | None = None
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with TemporaryDirectory() as scratch, torch.random.fork_rng():
            torch.manual_seed(self.seed)  # dropout draws from the global generator
            folder = Path(scratch)
            self.build(folder)
            self.policy.to(self.device)
            self.trie = Trie.of(self.codes, self.policy.sizes, self.device)
            # On the log's first day the candidate pool of midnight is still empty, so nothing could be decoded.
            started = known.train.cutoffs.astype("datetime64[D]") > np.nanmin(known.items.first_seen)
            train = known.train.take((known.train.n_dislikes > 0) & started)
            data = self.prompt_dataset(train)
            targets = reachable(Ragged(train.next, np.arange(len(train) + 1)), data, 1)
            warm_up(
                self.policy,
                data,
                targets,
                self.codes,
                folder / self.name,
                UtilizeConfig(
                    warmup_epochs=min(sizes.epochs, max(1.0, sizes.epochs * EPOCH / len(train))),
                    warmup_batch=self.batch,
                    warmup_learning_rate=sizes.learning_rate,
                    checkpoint_every=1000,
                ),
                seed=self.seed,
                validate=self._keep_best,
                validations=max(1, round(sizes.epochs)),
            )
        if self._best_weights is not None:
            load_trained_state(self.policy, self._best_weights)
        self.policy.eval()

    def _keep_best(self) -> dict[str, float]:
        """After each epoch: remember the weights with the best mean of HR@20 and FHR@20 on validation."""
        if self.known.validation is None:
            return {}
        part = with_dislikes(self.known.validation, VALIDATION_USERS)
        if not len(part):
            return {}
        (lists,) = self._lists(part, K, (1.0,))
        measured = {f"HR@{K}": hit_rate(lists, part), f"FHR@{K}": future_hit_rate(lists, part)}
        values = {name: float(hits[counted].mean()) for name, (counted, hits) in measured.items()}
        figure = sum(values.values()) / 2
        if figure > self._best_figure:
            self._best_figure, self._best_weights = figure, trained_state(self.policy)
        return values

    def prompt_dataset(
        self, instances: Instances, weight: float = 1.0, *, include_unseen: bool = False
    ) -> PromptDataset:
        """Histories and the candidate pools of their days, under the prior to the power of `weight`."""
        known = self.known.knowledge
        pool, rows = pool_of_days(
            instances, known, self.trie, **self.prior, weight=weight, include_unseen=include_unseen
        )
        excluded = partial(known.excluded, include_unseen=include_unseen)
        return PromptDataset(instances, self.prompts(instances), rows, pool, self.pad, self.policy.device, excluded)

    def tune(self, validation: Instances, k: int) -> dict[float, float]:
        """Choose the prior's exponent; returns FHR@k on `validation` per exponent tried.

        Without an instance that has a dislike before its cutoff it stays as it is and nothing is returned.
        """
        part = with_dislikes(validation, TUNING_INSTANCES)
        if not len(part):
            return {}
        lists = self._lists(part, k, WEIGHTS)
        tried = {w: float(hit_any(one, part.future).mean()) for w, one in zip(WEIGHTS, lists)}
        self.weight = max(tried, key=tried.__getitem__)
        return tried

    def tune_candidates(self, validation: Instances, candidates: np.ndarray) -> dict[float, float]:
        """Choose the prior's exponent for candidates; see `Recommender.tune_candidates`."""
        asked = evenly(np.flatnonzero((candidates >= 0).any(axis=1)), TUNING_INSTANCES)
        if not len(asked):
            return {}
        part, weights = validation.take(asked), (0.0, *WEIGHTS)
        scores = self._candidates(part, candidates[asked], weights)
        tried = {w: float(candidate_accuracy(one, part)[1].mean()) for w, one in zip(weights, scores)}
        self.candidate_weight = max(tried, key=tried.__getitem__)
        return tried

    def recommend(self, instances: Instances, k: int) -> np.ndarray:
        """Lists by beam search (see `Recommender.recommend`)."""
        return self._lists(instances, k, (self.weight,))[0]

    def score_candidates(self, instances: Instances, candidates: np.ndarray) -> np.ndarray:
        """Log-likelihood of the candidates' codes, as `Recommender.score_candidates`; items unknown that day count like
        the least popular ones."""
        return self._candidates(instances, candidates, (self.candidate_weight,))[0]

    def _decodings(self, instances: Instances, weights: Sequence[float], include_unseen: bool) -> list[Decoding]:
        return [Decoding(self.prompt_dataset(instances, weight, include_unseen=include_unseen)) for weight in weights]

    def _lists(self, instances: Instances, k: int, weights: Sequence[float]) -> list[np.ndarray]:
        if not len(instances):
            return [np.full((0, k), -1, np.int32) for _ in weights]
        decodings = self._decodings(instances, weights, include_unseen=False)
        found = predict_items(self.policy, decodings, PredictConfig(k=k, beams=self.beams, batch=32), self.name)
        return [items for items, _ in found]

    def _candidates(self, instances: Instances, candidates: np.ndarray, weights: Sequence[float]) -> list[np.ndarray]:
        if not candidates.size:
            return [np.full(candidates.shape, -np.inf, np.float32) for _ in weights]
        decodings, rows = self._decodings(instances, weights, include_unseen=True), np.maximum(candidates, 0)
        found = score_items(self.policy, decodings, rows, self.codes, batch=32, title=f"{self.name}: candidates")
        return [np.where(candidates < 0, -np.inf, scores).astype(np.float32) for scores in found]
