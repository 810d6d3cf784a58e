"""Stage: predict 20 items per held-out user, and rank their candidates."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conrec.config import Recipe
from conrec.data.exposures import without_prediction
from conrec.data.instances import Instances, Items, evenly
from conrec.decode.candidates import CandidateSets, candidate_features, rank_candidates
from conrec.decode.decoder import Decoder
from conrec.decode.inputs import Inputs
from conrec.decode.predict_items import future_hits
from conrec.evaluate.metrics import candidate_accuracy
from conrec.features.item_features import FeatureWeights, Remembered
from conrec.features.weight_search import Choices, best_weights, choices_of, decodings
from conrec.lm.model import build_policy, device, load_trained_policy
from conrec.lm.policy import Policy
from conrec.lm.prompts import Context
from conrec.lm.vocabulary import Vocabulary
from conrec.pipeline.job import Job
from conrec.progress import say
from conrec.score.similarity import max_cosine
from conrec.stages.score import read_history
from conrec.stages.utilize import CONTEXTS, future_reward, sampled_reward

COMPARED = 500
"""Instances of each held-out split that the stages of training are compared on, at most: enough to see an effect, and
on a large log each stage would otherwise take as long as the prediction itself."""


def predict(job: Job) -> None:
    """Write `predictions.parquet`, `replay.parquet`, `tuning.json` and, for what each training stage gave,
    `stages/*.parquet`.

    The history score of the stage `score` is the dislike propensity. The feature weights are chosen on validation; how
    much each part counts where given candidates are ranked is fitted there. The comparison of the stages is of the
    policies alone: the prior as it is, nothing else.
    """
    _predict(job, lists_only=False)


def predict_lists(job: Job) -> None:
    """Write `predictions.parquet` and `tuning.json` alone: no replay, and no comparison of the training stages."""
    _predict(job, lists_only=True)


def _predict(job: Job, *, lists_only: bool) -> None:
    recipe, prepared, utilized, out, seed = job.recipe, job.of("prepare"), job.of("utilize"), job.out, job.seed
    inputs = Inputs.of(recipe, job.log)
    vocabulary = Vocabulary.load(utilized / "tokenizer")
    policy = build_policy(recipe.lm, vocabulary, inputs.catalog.codewords, seed).to(device())
    held_out = inputs.instances.take(inputs.instances.split != "train")
    contexts = _contexts(recipe)
    if not lists_only:
        _compare_stages(inputs, vocabulary, policy, held_out, contexts, utilized, out / "stages")
    last, context = list(contexts.items())[-1]
    load_trained_policy(policy, utilized / last)

    exposures = inputs.exposure_weights()
    history = read_history(job.of("score")) if any(recipe.predict.propensity_weights) else None
    features = {name: Remembered(one) for name, one in inputs.item_features(exposures, history).items()}
    decoder = Decoder(inputs, vocabulary, policy, context, features)
    choices = choices_of(recipe.predict, features)
    weights, tried = _choose_weights(decoder, choices, held_out)
    say(f"{weights}: validation FHR@{recipe.predict.k} {tried[weights]:.4f}")

    # The replay's users who disliked nothing in a window are no instances, but are filtered.
    left = [] if lists_only else _without_instance(job, held_out)
    everybody = Instances.joined([held_out, *left])
    ((items, scores),) = decoder.predict(everybody, [weights], "predict")
    lists = _columns(everybody, inputs.items, items, scores)
    if len(everybody) > len(held_out):
        pq.write_table(lists.slice(len(held_out)), out / "replay.parquet")

    candidates = CandidateSets.read(prepared, held_out, inputs.items)
    likelihood, fitted = rank_candidates(candidate_features(decoder), candidates, held_out)
    by_filter = _by_filter(inputs.catalog.unit, candidates, items)
    predictions = lists.slice(0, len(held_out))
    for name, values in (("candidate_scores", likelihood), ("candidate_filter_scores", by_filter)):
        predictions = predictions.append_column(name, _lists(values, candidates, len(held_out)))
    pq.write_table(predictions, out / "predictions.parquet")
    table = {
        **weights._asdict(),
        "validation_FHR": {str(one): fhr for one, fhr in tried.items()},
        "decodings": decodings(choices),
        "exposures": exposures.as_json(),
        "candidates": fitted,
        "validation_CandAcc": _validation_accuracy(likelihood, candidates, held_out),
    }
    (out / "tuning.json").write_text(json.dumps(table, indent=2))


def _contexts(recipe: Recipe) -> dict[str, Context]:
    """What the prompts show to the weights of each training stage, in the order of training."""
    warmup: Context = CONTEXTS[-1] if recipe.utilize.warmup_context == "mixed" else recipe.utilize.warmup_context
    return {"warmup": warmup} | {f"stage{n}": s.context for n, s in enumerate(recipe.utilize.stages, start=1)}


def _compare_stages(
    inputs: Inputs,
    vocabulary: Vocabulary,
    policy: Policy,
    held_out: Instances,
    contexts: dict[str, Context],
    utilized: Path,
    out: Path,
) -> None:
    """`out/STAGE.parquet`: what the weights of each training stage predict for `COMPARED` instances, and their reward.

    What a stage taught is seen under the prior that it was trained with, not under the weights that are chosen.
    """
    out.mkdir(parents=True, exist_ok=True)
    splits = [np.flatnonzero(held_out.split == split) for split in ("validation", "test")]
    compared = held_out.take(np.concatenate([evenly(index, COMPARED) for index in splits]))
    future = future_reward(inputs, compared)
    for name, context in contexts.items():
        load_trained_policy(policy, utilized / name)
        plain = inputs.decoding(compared, context, vocabulary)
        ((items, scores),) = Decoder(inputs, vocabulary, policy, context).run([plain], f"predict ({name})")
        reward = sampled_reward(policy, plain.data, future, inputs.recipe)
        columns = _columns(compared, inputs.items, items, scores)
        pq.write_table(columns.append_column("reward", pa.array(reward)), out / f"{name}.parquet")


def _choose_weights(
    decoder: Decoder, choices: Choices, held_out: Instances
) -> tuple[FeatureWeights, dict[FeatureWeights, float]]:
    """The weights with the best FHR on validation, and all that were tried."""
    usable = np.flatnonzero((held_out.split == "validation") & (held_out.n_dislikes > 0))
    instances = held_out.take(evenly(usable, decoder.inputs.recipe.predict.tuning_instances))
    future = [instances.future[n] for n in range(len(instances))]

    def measure(weights: list[FeatureWeights]) -> list[float]:
        found = decoder.predict(instances, weights, "tune on validation")
        return [float(future_hits(items, future).mean()) for items, _ in found]

    return best_weights(choices, measure)


def _without_instance(job: Job, held_out: Instances) -> list[Instances]:
    """The replay's users who disliked nothing in a window, of validation and of test."""
    replays = [job.log.replay(split, job.recipe.split) for split in ("validation", "test")]
    return [without_prediction(replay, held_out) for replay in replays]


def _by_filter(unit: np.ndarray, candidates: CandidateSets, predicted: np.ndarray) -> np.ndarray:
    """float32 [n, c]: the paper's filter score of the candidates. predicted: int32 [instances, k], -1 for none."""
    pairs = zip(candidates.rows, predicted[candidates.at])
    return np.stack([max_cosine(unit[np.maximum(rows, 0)], unit[_valid(own)])[0] for rows, own in pairs])


def _validation_accuracy(scores: np.ndarray, candidates: CandidateSets, held_out: Instances) -> float | None:
    """The share of validation's sets whose true next dislike is ranked first; None without any."""
    validation = held_out.split[candidates.at] == "validation"
    counted, right = candidate_accuracy(scores[validation], held_out.take(candidates.at[validation]))
    return float(right[counted].mean()) if counted.any() else None


def _valid(rows: np.ndarray) -> np.ndarray:
    return rows[rows >= 0]


def _lists(values: np.ndarray, candidates: CandidateSets, n: int) -> pa.Array:
    """Values [m, c] of the candidates as lists of n instances; null for an instance without candidates."""
    out: list[list[float] | None] = [None] * n
    for place, row, length in zip(candidates.at, values, candidates.lengths):
        out[place] = row[:length].astype(float).tolist()
    return pa.array(out, pa.list_(pa.float64()))


def _columns(instances: Instances, items: Items, rows: np.ndarray, scores: np.ndarray) -> pa.Table:
    """The columns that all predictions share."""
    names = [[items.ids[i] for i in _valid(r)] for r in rows]
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
