"""Candidates that are given: by what they are ranked, the item features and the policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conrec.data.instances import Instances, Items
from conrec.decode.decoder import Decoder
from conrec.decode.predict_items import score_items
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


def candidate_parts(
    decoder: Decoder, weights: Mapping[str, float], candidates: CandidateSets, instances: Instances, *, policy: bool
) -> tuple[np.ndarray, np.ndarray]:
    """What ranks the candidates, float64 [n, c, 1 or 2], and which of them may be recommended at all, bool [n, c].

    The weighted sum of the item features, and with `policy` its log-likelihood. instances: those that the candidates
    were read for.
    """
    own, there = instances.take(candidates.at), candidates.rows >= 0
    for n in range(len(own)):
        there[n] &= ~np.isin(candidates.rows[n], own.seen[n])
    # A place without a candidate asks for the first one again; it is not looked at.
    asked = np.where(candidates.rows >= 0, candidates.rows, candidates.rows[:, :1])
    total = np.zeros(asked.shape)
    for name, weight in weights.items():
        if weight:
            total += weight * decoder.features[name].of_candidates(own, asked)
    parts = [total, PolicyFeature(decoder).of_candidates(own, asked)] if policy else [total]
    there &= np.isfinite(parts[-1])
    return np.where(there[..., None], np.stack(parts, axis=-1), 0.0), there
