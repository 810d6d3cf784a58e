"""Ranking given candidates by the policy and the other item features, each with a fitted weight.

Nothing has to be searched here, so the language model is a feature like the others: a log-weight of each candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conrec.data.instances import Instances, Items
from conrec.decode.decoder import PLAIN, Decoder
from conrec.decode.predict_items import score_items
from conrec.features.candidate_weights import fit_weights
from conrec.features.item_features import FeatureWeights, ItemFeature


@dataclass(frozen=True)
class CandidateSets:
    """Candidates of some instances, the true next dislike first."""

    at: np.ndarray
    """int64 [n]: whose, as places in the instances that they were read for."""
    rows: np.ndarray
    """int64 [n, c]: rows of the items, -1 where there are no more."""

    @classmethod
    def read(cls, prepared: Path, instances: Instances, items: Items) -> CandidateSets:
        """All sets in the folder of `prepare`; their instances must be among these."""
        table = pq.read_table(prepared / "candidates.parquet")
        place = {int(i): n for n, i in enumerate(instances.ids)}
        at = np.array([place[i] for i in table["instance_id"].to_pylist()], dtype=np.int64)
        lists = table["candidates"].combine_chunks()
        row = {item: n for n, item in enumerate(items.ids)}
        rows = np.full((len(at), int(pc.max(pc.list_value_length(lists)).as_py())), -1, dtype=np.int64)
        for n, names in enumerate(lists.to_pylist()):
            rows[n, : len(names)] = [row[name] for name in names]
        return cls(at, rows)

    @property
    def lengths(self) -> np.ndarray:
        """int64 [n]: how many candidates each has."""
        return (self.rows >= 0).sum(1)


class PolicyFeature(ItemFeature):
    """The policy's log-likelihood of an item's semantic ID, without a prior; -inf for what the user has consumed."""

    name = "policy"

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._weights = FeatureWeights(prior=0.0, temperature=min(decoder.inputs.recipe.predict.temperatures))

    def log_weight(self, instances: Instances) -> np.ndarray:
        """float32 [B, items]; asks for every item, which takes long on a large catalogue."""
        items = np.arange(len(self._decoder.inputs.items))
        return self.of_candidates(instances, np.broadcast_to(items, (len(instances), len(items))))

    def of_candidates(self, instances: Instances, rows: np.ndarray) -> np.ndarray:
        """float32 [B, c]: the same of given items, rows int [B, c]."""
        inputs, config = self._decoder.inputs, self._decoder.inputs.recipe.predict
        decodings = self._decoder.decodings(instances, [self._weights], include_unseen=True)
        (scores,) = score_items(
            self._decoder.policy,
            decodings,
            rows,
            inputs.catalog.codes,
            batch=config.batch,
        )
        return scores


class PriorFeature(ItemFeature):
    """The log of the day's prior; an item that the log has not met yet has that of the least popular one."""

    name = "prior"

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def log_weight(self, instances: Instances) -> np.ndarray:
        """float32 [B, items]."""
        prior, day = self._days(instances)
        return prior[day]

    def of_candidates(self, instances: Instances, rows: np.ndarray) -> np.ndarray:
        """float32 [B, c]: the same of given items, rows int [B, c]."""
        prior, day = self._days(instances)
        return prior[day[:, None], rows]

    def _days(self, instances: Instances) -> tuple[np.ndarray, np.ndarray]:
        """float32 [days, items] and int [B]: the prior of every day, and which day is each instance's."""
        data = self._decoder.decodings(instances, [PLAIN], include_unseen=True)[0].data
        return data.pool.item_weight.log().cpu().numpy(), data.rows


def candidate_features(decoder: Decoder) -> list[ItemFeature]:
    """All features that may tell candidates apart: the policy first, then what the recipe does not switch off."""
    prior = [PriorFeature(decoder)] if any(decoder.inputs.recipe.predict.prior_weights) else []
    return [PolicyFeature(decoder), *prior, *decoder.features.values()]


def rank_candidates(
    features: Sequence[ItemFeature], candidates: CandidateSets, instances: Instances
) -> tuple[np.ndarray, dict[str, float]]:
    """Scores float [n, c] of the candidates, -inf for what cannot be recommended, and the weights of the features.

    The weights are fitted to the sets of validation (`features.candidate_weights`). Without any that teach something
    the policy stands alone. instances: those that the candidates were read for.
    """
    rows, own = candidates.rows, instances.take(candidates.at)
    # A place without a candidate asks for the first one again; it is not looked at.
    asked = np.where(rows < 0, rows[:, :1], rows)
    parts = np.stack([feature.of_candidates(own, asked) for feature in features], -1)
    there = (rows >= 0) & np.isfinite(parts[..., 0])
    validation = own.split == "validation"
    weights = fit_weights(parts[validation], there[validation])
    if not weights.any():
        weights[0] = 1.0
    scores = np.where(there, np.where(there[..., None], parts, 0.0) @ weights, -np.inf)
    return scores, {feature.name: weight for feature, weight in zip(features, weights.tolist())}
