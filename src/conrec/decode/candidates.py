"""Candidates that are given: by what they are ranked, the item features and the policy."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conrec.data.distractors import read_candidates
from conrec.data.instances import Instances, Items, cut
from conrec.decode.decoder import USERS_AT_ONCE, Decoder
from conrec.decode.predict_items import score_items
from conrec.features.item_features import FeatureWeights
from conrec.parallel import map_parts


@dataclass(frozen=True)
class CandidateSets:
    """Candidates of some instances, the true next dislike first."""

    at: np.ndarray
    """int64 [n]: whose, as places in the instances that they were read for."""
    rows: np.ndarray
    """int64 [n, c]: rows of the items, -1 where there are no more."""

    @classmethod
    def read(cls, prepared: Path, instances: Instances, items: Items) -> "CandidateSets":
        """The sets of these instances in the folder of `prepare`."""
        rows = read_candidates(prepared, instances, items)
        at = np.flatnonzero((rows >= 0).any(axis=1))
        return cls(at, rows[at].astype(np.int64))

    def asked(self, instances: Instances) -> tuple[Instances, np.ndarray]:
        """Whose they are, of these instances, and their rows, int64 [n, c]: a place without a candidate has the first
        one again, and is not looked at."""
        return instances.take(self.at), np.where(self.rows >= 0, self.rows, self.rows[:, :1])

    @property
    def lengths(self) -> np.ndarray:
        """int64 [n]: how many candidates each has."""
        return (self.rows >= 0).sum(1)


def policy_scores(decoder: Decoder, instances: Instances, rows: np.ndarray) -> np.ndarray:
    """float32 [B, c]: the policy's log-likelihood of the semantic IDs of items, rows int [B, c], without a prior; -inf
    for what the user has consumed."""
    config, codes = decoder.inputs.recipe.predict, decoder.inputs.log_view.catalog.codes
    weights = FeatureWeights(prior=0.0, temperature=min(config.temperatures))

    def some(part: np.ndarray) -> np.ndarray:
        assert decoder.policy is not None
        decodings = decoder.decodings(instances.take(part), [weights], include_unseen=True)
        (scores,) = score_items(decoder.policy, decodings, rows[part], codes, batch=config.batch, title=None)
        return scores

    return np.concatenate(list(map_parts(some, cut(len(instances), USERS_AT_ONCE), "score candidates", gpu=True)))


def candidate_parts(decoder: Decoder, candidates: CandidateSets, instances: Instances) -> tuple[np.ndarray, np.ndarray]:
    """The log-weights of the candidates by each of the decoder's item features, float64 [n, c, p], and which of them
    may be recommended at all, bool [n, c].

    instances: those that the candidates were read for.
    """
    own, asked = candidates.asked(instances)
    there = candidates.rows >= 0
    for n in range(len(own)):
        there[n] &= ~np.isin(candidates.rows[n], own.seen[n])

    def some(part: np.ndarray) -> np.ndarray:
        few, rows = own.take(part), asked[part]
        found = [feature.of_candidates(few, rows) for feature in decoder.features.values()]
        return np.stack(found, axis=-1).astype(np.float64) if found else np.zeros((*rows.shape, 0))

    return np.concatenate(list(map_parts(some, cut(len(own), USERS_AT_ONCE), "features of candidates"))), there
