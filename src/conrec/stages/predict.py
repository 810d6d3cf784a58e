"""Stage: predict 20 items per held-out user, and rank their candidates."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conrec.data.exposures import without_prediction
from conrec.data.instances import Instances, Items, Ragged, evenly, offsets_of
from conrec.decode.candidates import CandidateSets, candidate_parts, policy_scores
from conrec.decode.decoder import Decoder, contexts
from conrec.decode.inputs import Inputs
from conrec.decode.predict_items import predict_items
from conrec.decode.prompt_dataset import Decoding
from conrec.evaluate.bootstrap import bootstrap
from conrec.evaluate.metrics import candidate_accuracy, hit_any
from conrec.features.fitted_weights import Sets, fit_weights
from conrec.features.item_features import FeatureWeights
from conrec.files import write_json
from conrec.lm.model import load_trained_policy
from conrec.pipeline.job import Job
from conrec.progress import say
from conrec.score.list_weights import ListWeights, prior_alone
from conrec.score.similarity import max_cosine
from conrec.stages.score import read_history
from conrec.stages.utilize import future_reward, sampled_reward

COMPARED = 500
"""Instances of each held-out split that the stages of training are compared on, at most: enough to see an effect, and
on a large log each stage would otherwise take as long as the prediction itself."""
MOST_ASKED = 2000
"""Instances of validation that say how much the policy counts, at most."""
ALONE, WITHOUT = "alone", "without"
"""Folders of what each item feature predicts by itself, and of what all others do without it."""


def predict(job: Job, lists_only: bool = False) -> None:
    """Write `predictions.parquet`, `replay.parquet`, `tuning.json`, what each item feature predicts by itself to
    `alone/*.parquet`, what the others do without it to `without/*.parquet` where `weights` learned that and, for what
    each training stage gave, `stages/*.parquet`.

    The features have the weights of the stage `weights`. The policy joins them as `predict.temperatures` says. The
    comparison of the training stages is of the policies alone: the prior as it is, nothing else. `lists_only`: without
    the replay and that comparison.
    """
    recipe, prepared, out = job.recipe, job.of("prepare"), job.out
    inputs = Inputs.of(recipe, job.log)
    held_out = inputs.instances.take(inputs.instances.split != "train")
    some = bool(recipe.predict.features)
    learned = ListWeights.load(job.of("weights")) if some else prior_alone(recipe.predict)
    history = read_history(job.of("score")) if some else None
    utilized = job.of("utilize") if recipe.predict.asks_policy else None
    decoder = Decoder.of(inputs, job.seed, utilized, learned.exposures, history)
    if utilized and not lists_only:
        _compare_stages(decoder, held_out, utilized, out / "stages")
    weights, tried = _choose_temperature(decoder, learned.of_lists(), held_out)
    say(f"{weights}: validation FHR@{recipe.predict.k} {tried[weights.temperature]:.4f}")

    # The replay's users who disliked nothing in a window are no instances, but are filtered.
    replays = () if lists_only else (job.log.replay(split, recipe.split) for split in ("validation", "test"))
    left = [without_prediction(replay, held_out) for replay in replays]
    everybody = Instances.joined([held_out, *left])
    ((items, scores),) = decoder.predict(everybody, [weights], "predict")
    lists = _columns(everybody, inputs.log_view.items, items, scores)
    if len(everybody) > len(held_out):
        pq.write_table(lists.slice(len(held_out)), out / "replay.parquet")

    candidates = CandidateSets.read(prepared, held_out, inputs.log_view.items)
    parts = candidate_parts(decoder, candidates, held_out)
    nothing = FeatureWeights(prior=0.0, temperature=math.inf)
    alone = {name: (nothing._replace(**{name: 1.0}), {name: 1.0}) for name in decoder.features}
    without = {name: (one.of_lists(), one.candidates) for name, one in learned.without.items()}
    for folder, others in ((ALONE, alone), (WITHOUT, without)):
        _predict_by_features(decoder, candidates, parts, held_out, others, out / folder)
    ranked, counts = _rank_candidates(decoder, learned.candidates, candidates, parts, held_out)
    by_filter = max_cosine(inputs.log_view.catalog.unit, candidates.rows, items[candidates.at])
    predictions = lists.slice(0, len(held_out))
    for name, values in (("candidate_scores", ranked), ("candidate_filter_scores", by_filter)):
        predictions = predictions.append_column(name, _lists(values, candidates, len(held_out)))
    pq.write_table(predictions, out / "predictions.parquet")
    validation = held_out.split[candidates.at] == "validation"
    counted, right = candidate_accuracy(ranked[validation], held_out.take(candidates.at[validation]))
    table = {
        **weights._asdict(),
        "validation_FHR": {str(temperature): fhr for temperature, fhr in tried.items()},
        "exposures": learned.exposures,
        "backtest_FHR": {"cases": learned.cases, "together": learned.together, "alone": learned.alone},
        "candidates": counts,
        "validation_CandAcc": float(right[counted].mean()) if counted.any() else None,
    }
    write_json(out / "tuning.json", table)


def _compare_stages(decoder: Decoder, held_out: Instances, utilized: Path, out: Path) -> None:
    """`out/STAGE.parquet`: what the weights of each training stage predict for `COMPARED` instances, and their reward.

    What a stage taught is seen under the prior that it was trained with, not under the weights that are chosen.
    """
    inputs, vocabulary, policy = decoder.inputs, decoder.vocabulary, decoder.policy
    assert vocabulary is not None
    assert policy is not None
    out.mkdir(parents=True, exist_ok=True)
    splits = [np.flatnonzero(held_out.split == split) for split in ("validation", "test")]
    compared = held_out.take(np.concatenate([evenly(index, COMPARED) for index in splits]))
    future = future_reward(inputs, compared)
    for name, context in contexts(inputs.recipe).items():  # the last one is the decoder's own
        load_trained_policy(policy, utilized / name)
        plain = Decoding(inputs.prompt_dataset(compared, context, vocabulary))
        ((items, scores),) = predict_items(policy, [plain], inputs.recipe.predict, f"predict ({name})")
        reward = sampled_reward(policy, plain.data, future, inputs.recipe)
        columns = _columns(compared, inputs.log_view.items, items, scores)
        pq.write_table(columns.append_column("reward", pa.array(reward)), out / f"{name}.parquet")


def _predict_by_features(
    decoder: Decoder,
    candidates: CandidateSets,
    parts: tuple[np.ndarray, np.ndarray],
    held_out: Instances,
    others: dict[str, tuple[FeatureWeights, dict[str, float]]],
    out: Path,
) -> None:
    """`out/NAME.parquet`: lists and ranked candidates by other weights of the item features, without the policy.

    others: by name the weights of lists and of given candidates. No part of a combination should be ahead of the
    whole (`evaluate.results.ahead`).
    """
    if not others:
        return
    out.mkdir(parents=True, exist_ok=True)
    weights = [one._replace(temperature=math.inf) for one, _ in others.values()]
    found, (values, there) = decoder.predict(held_out, weights, f"features {out.name}"), parts
    for (name, (_, counts)), (items, scores) in zip(others.items(), found):
        summed = values @ np.array([counts.get(one, 0.0) for one in decoder.features])
        columns = _columns(held_out, decoder.inputs.log_view.items, items, scores)
        ranked = _lists(np.where(there, summed, -np.inf), candidates, len(held_out))
        pq.write_table(columns.append_column("candidate_scores", ranked), out / f"{name}.parquet")


def _choose_temperature(
    decoder: Decoder, weights: FeatureWeights, held_out: Instances
) -> tuple[FeatureWeights, dict[float, float]]:
    """The weights with the temperature of the policy, and validation's FHR at all temperatures.

    The policy learned from the period that the weights were learned on, so only validation can say what it adds.
    """
    temperatures = list(dict.fromkeys(decoder.inputs.recipe.predict.temperatures))
    usable = np.flatnonzero((held_out.split == "validation") & (held_out.n_dislikes > 0))
    instances = held_out.take(evenly(usable, MOST_ASKED))
    found = decoder.predict(instances, [weights._replace(temperature=one) for one in temperatures], "temperatures")
    hits = {one: hit_any(items, instances.future).astype(float) for one, (items, _) in zip(temperatures, found)}
    best = max(temperatures, key=lambda one: hits[one].mean())
    if math.inf in hits and not _better(instances.users, hits[best] - hits[math.inf]):
        best = math.inf
    return weights._replace(temperature=best), {one: float(values.mean()) for one, values in hits.items()}


def _rank_candidates(
    decoder: Decoder,
    weights: dict[str, float],
    candidates: CandidateSets,
    parts: tuple[np.ndarray, np.ndarray],
    held_out: Instances,
) -> tuple[np.ndarray, dict[str, float]]:
    """Scores float [n, c] of the candidates, -inf for what cannot be recommended, and how much each part counts.

    parts: `candidate_parts` of all features. How much the policy counts beside their sum is fitted to the sets of
    validation.
    """
    temperatures, asked = decoder.inputs.recipe.predict.temperatures, decoder.load is not None
    values, there = parts
    summed = values @ np.array([weights.get(name, 0.0) for name in decoder.features])
    policy = policy_scores(decoder, *candidates.asked(held_out)) if asked else summed
    there = there & np.isfinite(policy)
    both = np.where(there[..., None], np.stack([summed, policy], axis=-1), 0.0)
    counts = np.array([1.0, 0.0] if any(weights.values()) or not asked else [0.0, 1.0])
    if asked and any(weights.values()):
        own = held_out.take(candidates.at)
        usable = np.flatnonzero((own.split == "validation") & there[:, 0])
        lengths = there[usable].sum(axis=1)
        first = Ragged(np.zeros(int(lengths.sum()), bool), offsets_of(lengths))
        first.values[first.offsets[:-1]] = True
        sets = Sets.of(both[usable][there[usable]], first, own.users[usable])
        fitted = fit_weights(sets)
        gain = sets.hits(fitted, 1) - sets.hits(counts, 1)
        if fitted.any() and (math.inf not in temperatures or _better(sets.owners, gain)):
            counts = fitted
    scores = np.where(there, both @ counts, -np.inf)
    of_features = {name: float(counts[0]) * weight for name, weight in weights.items()}
    return scores, ({"policy": float(counts[1])} if asked else {}) | of_features


def _better(users: np.ndarray, gain: np.ndarray) -> bool:
    """Whether a gain, float [instances], is significantly above 0."""
    return bootstrap(users, gain[:, None])[0].verdict == "better"


def _lists(values: np.ndarray, candidates: CandidateSets, n: int) -> pa.Array:
    """Values [m, c] of the candidates as lists of n instances; null for an instance without candidates."""
    out: list[list[float] | None] = [None] * n
    for place, row, length in zip(candidates.at, values, candidates.lengths):
        out[place] = row[:length].astype(float).tolist()
    return pa.array(out, pa.list_(pa.float64()))


def _columns(instances: Instances, items: Items, rows: np.ndarray, scores: np.ndarray) -> pa.Table:
    names = [[items.ids[i] for i in own if i >= 0] for own in rows]
    values = [s[: len(n)].astype(float).tolist() for s, n in zip(scores, names)]
    return pa.table(
        {
            "instance_id": instances.ids,
            "split": pa.array(instances.split.tolist(), pa.string()),
            "user_id": pa.array(instances.users.tolist(), pa.string()),
            "cutoff": pa.array(instances.cutoffs, pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC")),
            "items": pa.array(names, pa.list_(pa.string())),
            "scores": pa.array(values, pa.list_(pa.float64())),
        }
    )
