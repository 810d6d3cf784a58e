"""Weights of the item features, learned on backtest windows (not in the paper).

At each window's cutoff users are asked what they will dislike next, as held-out users are, and only what came before
it is known. Thousands of such cases say how much each feature is worth, where validation has some hundred.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np

from conrec.config import PredictConfig
from conrec.data.distractors import draw_candidates
from conrec.data.instances import Events, Instances, Ragged, cut, evenly
from conrec.data.knowledge import Knowledge
from conrec.features.exposures import Weights
from conrec.features.fitted_weights import Sets, weights_for
from conrec.features.item_features import AT_ONCE, FeatureWeights, ItemFeature
from conrec.files import readable, write_json
from conrec.parallel import map_parts
from conrec.score.backtest import Backtest
from conrec.score.history import HistoryScore
from conrec.score.list_features import list_features

FILE = "weights.json"
CASES = 3000
"""Users at cutoffs that are learned from, at most, evenly spread over the windows."""
HARD = 150
"""Of a larger catalogue a case keeps so many items that a feature puts first, for each feature, and so many of any."""
LONG_TAIL_STEPS = [n / 4 for n in range(1, 21)]
"""What may be added for long-tail items, in logs."""


@dataclass(frozen=True)
class ListWeights:
    """How much each item feature counts, by its name."""

    lists: dict[str, float]
    candidates: dict[str, float]
    """Where given candidates are ranked."""
    exposures: dict[str, float]
    """Weights of the exposure likelihood (`features.exposures.Weights`)."""
    cases: int
    """Users at cutoffs that they were learned from; 0 where nothing was."""
    alone: dict[str, float]
    """FHR of lists by each feature alone, on these cases."""
    together: float
    """FHR of lists by the weighted sum, on these cases, each user left out of what the weights were learned on."""
    long_tail: float = 0.0
    without: dict[str, ListWeights] = field(default_factory=dict)
    """By a feature's name the weights of the others, learned without it; only where that was asked for."""

    def of_lists(self) -> FeatureWeights:
        return FeatureWeights(**({"prior": 0.0} | self.lists), long_tail=self.long_tail)

    def save(self, folder: Path) -> None:
        write_json(folder / FILE, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> ListWeights:
        """What `save` wrote; ConrecError where it is not there or not readable."""
        with readable(folder / FILE, "the weights"):
            table = json.loads((folder / FILE).read_text(encoding="utf-8"))
            return cls(**table | {"without": {name: cls(**one) for name, one in table.get("without", {}).items()}})


def prior_alone(config: PredictConfig) -> ListWeights:
    """The weights where the recipe has no features: the prior counts once, as in the policy's training."""
    counts = {"prior": 1.0} if config.prior else {}
    return ListWeights(counts, counts, {}, 0, {}, 0.0)


def read_weights(predicted: Path) -> tuple[FeatureWeights, Weights]:
    """The weights that a stage `predict` used in lists, and those of its exposure likelihood, from its folder."""
    table = json.loads((predicted / "tuning.json").read_text(encoding="utf-8"))
    # A run of an earlier version has no weight for a feature that came later.
    weights = FeatureWeights(**{name: table[name] for name in FeatureWeights._fields if name in table})
    weights = weights._replace(temperature=float(weights.temperature))  # JSON has no infinity
    return weights, table["exposures"]


def learn_list_weights(
    config: PredictConfig,
    windows: Sequence[Backtest],
    events: Events,
    exposures: Weights,
    history: HistoryScore | None,
    candidates: int,
    seed: int,
    *,
    by_category: bool = False,
    left_out: bool = False,
) -> ListWeights:
    """Learn from backtest windows.

    events: those that may be learned from; distractors are drawn among them. candidates: size of the sets in which
    given candidates are ranked, the true next dislike included. by_category: as in `Knowledge`. left_out: also learn
    without each of the features (`ListWeights.without`). Where there is nothing to learn from, all features count the
    same.
    """
    # Who, in each window, had disliked something and then did so again.
    asked_in = [window.replay.instances for window in windows]
    cases = [one.take(np.flatnonzero((one.n_dislikes > 0) & (one.future.lengths > 0))) for one in asked_in]
    total = max(1, sum(map(len, cases)))
    evened = [one.take(evenly(np.arange(len(one)), round(CASES * len(one) / total))) for one in cases]

    def of_window(n: int) -> tuple[list[str], Sets, Sets]:
        view, asked = windows[n].log_view, evened[n]
        knowledge = Knowledge(view.items, view.events, view.train_users, by_category=by_category)
        features = list_features(config, view, knowledge, exposures, history)
        drawn = draw_candidates(events, asked, candidates, seed + n, knowledge.excluded)
        rng = np.random.default_rng([seed, n])  # one a window, so that each can be worked on by itself
        return list(features), *_sets(list(features.values()), knowledge, asked, drawn, rng)

    with_cases = [n for n, asked in enumerate(evened) if len(asked)]
    found = list(map_parts(of_window, with_cases, "weights of the features"))
    names = found[-1][0] if found else []
    lists, sets = [one for _, one, _ in found], [one for _, _, one in found]
    if not names or not any(map(len, lists)):
        there = [name for name in config.features if history is not None or name != "propensity"]
        equal = dict.fromkeys(there + ["prior"] * config.prior, 1.0)
        return ListWeights(equal, equal, dict(exposures), 0, {}, 0.0)
    with_tail, of_sets = Sets.joined(lists), Sets.joined(sets)

    def learned(some: list[str]) -> ListWeights:
        columns = [names.index(name) for name in some]
        for_lists, alone, together = weights_for(_columns(with_tail, columns), config.k)
        for_sets, _, _ = weights_for(_columns(of_sets, columns), 1)
        return ListWeights(
            dict(zip(some, for_lists.tolist())),
            dict(zip(some, for_sets.tolist())),
            dict(exposures),
            len(with_tail),
            dict(zip(some, alone)),
            together,
            _long_tail(_columns(with_tail, [*columns, len(names)]), for_lists, config),
        )

    others = {name: [one for one in names if one != name] for name in names if left_out and len(names) > 1}
    return replace(learned(names), without={name: learned(some) for name, some in others.items()})


def _columns(sets: Sets, columns: list[int]) -> Sets:
    """Sets with some of their features."""
    return replace(sets, values=np.ascontiguousarray(sets.values[:, columns]))


def _long_tail(sets: Sets, weights: np.ndarray, config: PredictConfig) -> float:
    """What is added for long-tail items: as much as costs lists no more of their FHR than `predict.long_tail_cost`."""
    before, found = sets.hits(np.append(weights, 0.0), config.k).mean(), 0.0
    for added in LONG_TAIL_STEPS:
        if before - sets.hits(np.append(weights, added), config.k).mean() > config.long_tail_cost:
            break
        found = added
    return found


def _sets(
    features: Sequence[ItemFeature],
    knowledge: Knowledge,
    asked: Instances,
    candidates: tuple[np.ndarray, Ragged],
    rng: np.random.Generator,
) -> tuple[Sets, Sets]:
    """What is on offer to each of some users, and the candidates drawn for them, with the features of each item; the
    last feature of what is on offer is whether the item is a long-tail one."""
    at, drawn = candidates
    of_list, targets, stands_for, of_set = (list[np.ndarray]() for _ in range(4))
    long_tail = cache(knowledge.long_tail)
    for part in cut(len(asked), AT_ONCE):
        few = asked.take(part)
        weights = np.stack([feature.log_weight(few) for feature in features], axis=-1)
        excluded = knowledge.excluded(few)
        for n, own, never in zip(part.tolist(), weights, (excluded[k] for k in range(len(few)))):
            moment = asked.cutoffs[n]
            on_offer = knowledge.on_offer(moment if knowledge.by_category else moment.astype("datetime64[D]"))
            on_offer[never] = False
            tail = long_tail(moment)
            rows, counts = _hard(own, np.flatnonzero(on_offer), asked.future[n], tail, rng)
            of_list.append(np.column_stack([own[rows], tail[rows]]))
            stands_for.append(counts)
            targets.append(np.isin(rows, asked.future[n]))
            of_set += [own[drawn[place]] for place in np.flatnonzero(at == n).tolist()]
    first = np.zeros(len(drawn.values), bool)
    first[drawn.offsets[:-1]] = True
    return (
        Sets.of(np.concatenate(of_list), Ragged.of(targets, bool), asked.users, np.concatenate(stands_for)),
        Sets.of(np.concatenate(of_set), drawn.of_values(first), asked.users[at]),
    )


def _hard(
    weights: np.ndarray, rows: np.ndarray, wanted: np.ndarray, tail: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Of these rows those that could be among the first of a list, the wanted ones, and some of the others.

    weights: float [items, p]; tail: bool [items], the long-tail items, of which the first are kept, too. Also how many
    items each stands for, float32: those of the others stand for all others.
    """
    x = weights[rows]
    standard = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-6)
    summed = standard.sum(axis=1)
    ranked = np.column_stack([x, summed, np.where(tail[rows], summed, -np.inf)])
    if len(rows) <= HARD * (ranked.shape[1] + 1):
        return rows, np.ones(len(rows), np.float32)
    kept = np.isin(rows, wanted)
    for column in ranked.T:
        kept[np.argpartition(-column, HARD)[:HARD]] = True
    others = np.flatnonzero(~kept)
    some = rng.choice(others, min(HARD, len(others)), replace=False)
    stands_for = kept.astype(np.float32)
    stands_for[some] = len(others) / max(1, len(some))
    return rows[stands_for > 0], stands_for[stands_for > 0]
