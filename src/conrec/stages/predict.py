"""Prediction: 20 items per held-out user, and the likelihood of their candidates."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conrec.config import Recipe
from conrec.data.exposures import read_replay, without_prediction
from conrec.data.instances import Instances, Items, evenly
from conrec.decode.predict_items import future_hits, predict_items, score_items
from conrec.decode.prompt_dataset import Decoding
from conrec.evaluate.metrics import candidate_accuracy
from conrec.features.candidate_weights import fit_weights
from conrec.features.exposures import ExposureWeights
from conrec.features.item_features import ItemFeature, Setting, combine_features, of_some, remembered
from conrec.lm.model import build_policy, load_trained_policy
from conrec.lm.policy import Policy
from conrec.lm.prompts import Context
from conrec.lm.vocabulary import Vocabulary
from conrec.progress import say
from conrec.score.backtest import backtests
from conrec.score.propensity import propensity
from conrec.score.similarity import max_cosine
from conrec.stages.fit_history import HISTORY, fit_history
from conrec.stages.inputs import PLAIN, Inputs, device
from conrec.stages.tune import best_setting
from conrec.stages.utilize import CONTEXTS, future_reward, sampled_reward

COMPARED = 2000
"""Instances of each held-out split that the stages of training are compared on, at most: enough to see an effect, and
on a large log each stage would otherwise take as long as the prediction itself."""


def predict(
    recipe: Recipe, prepared: Path, compressed: Path, utilized: Path, out: Path, seed: int, *, lists_only: bool = False
) -> None:
    """Write `predictions.parquet`, `replay.parquet`, `tuning.json`, `history.safetensors` and, for what each training
    stage gave, `stages/*.parquet` into `out`.

    What decoding leans on beside the policy is chosen on validation; how much each part counts where given candidates
    are ranked is fitted there. The comparison of the stages is of the policies alone: the prior as it is, nothing else.
    `lists_only` leaves out that comparison and the replay.
    """
    inputs = Inputs.read(recipe, prepared, compressed)
    vocabulary = Vocabulary.load(utilized / "tokenizer")
    policy = build_policy(recipe.lm, vocabulary, inputs.catalog.codewords, seed).to(device())
    held_out = inputs.instances.take(inputs.instances.split != "train")
    warmup: Context = CONTEXTS[-1] if recipe.utilize.warmup_context == "mixed" else recipe.utilize.warmup_context
    contexts = {"warmup": warmup} | {f"stage{n}": s.context for n, s in enumerate(recipe.utilize.stages, start=1)}
    out.mkdir(parents=True, exist_ok=True)
    if not lists_only:
        _compare_stages(inputs, vocabulary, policy, held_out, contexts, utilized, out / "stages")
    last, context = list(contexts.items())[-1]
    load_trained_policy(policy, utilized / last)

    left = [] if lists_only else _without_instance(inputs, held_out, prepared)
    everybody = Instances.joined([held_out, *left])
    exposures = inputs.exposure_weights()
    item_features = {**inputs.item_features(everybody, exposures), **_propensity(inputs, everybody, out, seed)}
    decoder = Decoder(inputs, vocabulary, policy, context, everybody, item_features)
    setting, tried = _tune(decoder, len(held_out))
    say(f"{setting}: validation FHR@{recipe.predict.k} {tried[setting]:.4f}")
    items, scores = decoder.predict(np.arange(len(everybody)), [setting], "predict")[0]
    likelihood, by_filter, choice = _candidates(decoder, held_out, items, prepared)
    columns = _columns(held_out, inputs.items, items[: len(held_out)], scores[: len(held_out)])
    columns |= {"candidate_scores": likelihood, "candidate_filter_scores": by_filter}
    pq.write_table(pa.table(columns), out / "predictions.parquet")
    if len(everybody) > len(held_out):
        # The replay's users who disliked nothing in a window are no instances, but are filtered.
        rest = slice(len(held_out), None)
        replay = _columns(Instances.joined(left), inputs.items, items[rest], scores[rest])
        pq.write_table(pa.table(replay), out / "replay.parquet")
    table = {
        **setting._asdict(),
        "validation_FHR": {str(one): fhr for one, fhr in tried.items()},
        "exposures": exposures.as_json(),
        **choice,
    }
    (out / "tuning.json").write_text(json.dumps(table, indent=2))


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

    What a stage taught is seen under the prior that it was trained with, not under what decoding is tuned to.
    """
    out.mkdir(parents=True, exist_ok=True)
    splits = [np.flatnonzero(held_out.split == split) for split in ("validation", "test")]
    compared = held_out.take(np.concatenate([evenly(index, COMPARED) for index in splits]))
    future = future_reward(inputs, compared)
    for name, context in contexts.items():
        load_trained_policy(policy, utilized / name)
        plain = inputs.decoding(compared, context, vocabulary)
        ((items, scores),) = _predict(inputs, policy, [plain], f"predict ({name})")
        reward = sampled_reward(policy, plain.data, future, inputs.recipe)
        columns = _columns(compared, inputs.items, items, scores)
        pq.write_table(pa.table({**columns, "reward": reward}), out / f"{name}.parquet")


def read_setting(folder: Path) -> tuple[Setting, ExposureWeights]:
    """What decoding leans on, and what it was learned that users are shown, when this folder was written."""
    table = json.loads((folder / "tuning.json").read_text(encoding="utf-8"))
    setting = Setting(**{name: float(table[name]) for name in Setting._fields if name in table})
    return setting, ExposureWeights.of_json(table["exposures"])


@dataclass(frozen=True)
class Decoder:
    """A policy and what decoding can lean on, for some instances."""

    inputs: Inputs
    vocabulary: Vocabulary
    policy: Policy
    context: Context
    instances: Instances
    item_features: dict[str, ItemFeature]

    def decodings(self, index: np.ndarray, settings: list[Setting], *, include_unseen: bool = False) -> list[Decoding]:
        """Of the instances at `index`, one a setting."""
        some, item_features = self.instances.take(index), of_some(self.item_features, index)
        # Prompts and the day's offer differ by the prior at most, not by what else a setting leans on.
        data = {
            prior: self.inputs.prompt_dataset(
                some, self.context, self.vocabulary, weight=prior, include_unseen=include_unseen
            )
            for prior in dict.fromkeys(setting.prior for setting in settings)
        }
        return [
            Decoding(data[setting.prior], combine_features(setting, item_features), setting.temperature)
            for setting in settings
        ]

    def predict(self, index: np.ndarray, settings: list[Setting], title: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """Rows and scores of the predicted items of the instances at `index`, one pair a setting."""
        return _predict(self.inputs, self.policy, self.decodings(index, settings), title)


def _choices(recipe: Recipe, item_features: dict[str, ItemFeature]) -> dict[str, tuple[float, ...]]:
    """What may be tried of each exponent; 1 for the prior and 0 for the others come first where they are among it."""
    config = recipe.predict
    found = {
        "prior": tuple(sorted(config.prior_weights, key=lambda value: value != 1.0)),
        "temperature": tuple(sorted(config.temperatures)),
    }
    named = {
        "co_dislike_score": config.co_dislike_weights,
        "exposure": config.exposures,
        "attribute": config.attributes,
        "propensity": config.propensity_weights,
        "content_similarity": config.content_weights,
    }
    return found | {name: tuple(sorted(values)) for name, values in named.items() if name in item_features}


def _tune(decoder: Decoder, held_out: int) -> tuple[Setting, dict[Setting, float]]:
    """The setting with the best FHR on validation, and all that were tried."""
    instances = decoder.instances.take(np.arange(held_out))
    index = evenly(
        np.flatnonzero((instances.split == "validation") & (instances.n_dislikes > 0)),
        decoder.inputs.recipe.predict.tuning_instances,
    )
    future = [instances.future[int(n)] for n in index]

    def measure(settings: list[Setting]) -> list[float]:
        found = decoder.predict(index, settings, "tune on validation")
        return [float(future_hits(items, future).mean()) for items, _ in found]

    return best_setting(_choices(decoder.inputs.recipe, decoder.item_features), measure)


def _propensity(inputs: Inputs, instances: Instances, out: Path, seed: int) -> dict[str, ItemFeature]:
    """The leaning of that name, and the history score behind it in `out`; nothing where it is not wanted or the log
    holds too little to learn it from."""
    if not any(inputs.recipe.predict.propensity_weights):
        return {}
    log_view = inputs.log_view
    try:
        history = fit_history(log_view, inputs.split, backtests(log_view, inputs.split, inputs.recipe.split), seed)
    except ValueError as error:
        say(f"predict: {error}; decoding goes without aversions")
        return {}
    history.save(out / HISTORY)
    return {"propensity": remembered(propensity(history, log_view, instances))}


def _predict(
    inputs: Inputs, policy: Policy, decodings: list[Decoding], title: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    """`predict_items` with the recipe's settings."""
    config = inputs.recipe.predict
    return predict_items(
        policy,
        decodings,
        k=config.k,
        beams=config.beams,
        batch=config.batch,
        title=title,
    )


def _without_instance(inputs: Inputs, held_out: Instances, prepared: Path) -> list[Instances]:
    """The replay's users who disliked nothing in a window, of validation and of test."""
    replays = [
        read_replay(prepared, inputs.items, held_out, split, inputs.recipe.split, inputs.events)
        for split in ("validation", "test")
    ]
    return [without_prediction(replay, held_out) for replay in replays]


def _candidates(
    decoder: Decoder, held_out: Instances, predicted: np.ndarray, prepared: Path
) -> tuple[pa.Array, pa.Array, dict]:
    """Scores of the candidate sets, by likelihood and by the filter, aligned with the held-out instances; and how the
    former are put together."""
    inputs = decoder.inputs
    table = pq.read_table(prepared / "candidates.parquet")
    place = {int(i): n for n, i in enumerate(held_out.ids)}
    at = np.array([place[i] for i in table["instance_id"].to_pylist()], dtype=np.int64)
    lists = table["candidates"].combine_chunks()
    width = int(pc.max(pc.list_value_length(lists)).as_py())
    row = {item: n for n, item in enumerate(inputs.items.ids)}
    rows = np.full((len(at), width), -1, dtype=np.int64)
    for n, names in enumerate(lists.to_pylist()):
        rows[n, : len(names)] = [row[name] for name in names]

    parts = _parts(decoder, at, np.where(rows < 0, rows[:, :1], rows))
    there = (rows >= 0) & np.isfinite(parts["policy"])
    together = np.stack(list(parts.values()), -1)
    validation = held_out.split[at] == "validation"
    weights = fit_weights(together[validation], there[validation])
    if not weights.any():  # nothing to learn from
        weights[0] = 1.0
    likelihood = np.where(there, np.where(there[..., None], together, 0.0) @ weights, -np.inf)
    counted, right = candidate_accuracy(likelihood[validation], held_out.take(at[validation]))
    unit = inputs.catalog.unit
    by_filter = np.stack(
        [max_cosine(unit[np.maximum(rows[n], 0)], unit[_valid(predicted[at[n]])])[0] for n in range(len(at))]
    )
    lengths = (rows >= 0).sum(1)
    return (
        _lists(likelihood, lengths, at, len(held_out)),
        _lists(by_filter, lengths, at, len(held_out)),
        {
            "candidates": dict(zip(parts, weights.tolist())),
            "validation_CandAcc": float(right[counted].mean()) if counted.any() else None,
        },
    )


def _parts(decoder: Decoder, at: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
    """What may tell candidates apart, float [n, c] each: the policy's log-likelihood of their semantic IDs, -inf for
    what the user has judged before; the log of the day's prior; the leanings. `at`: whose candidates; `rows`:
    int [n, c], the items.
    """
    inputs, config = decoder.inputs, decoder.inputs.recipe.predict
    own = Setting(prior=0.0, temperature=min(config.temperatures))
    (decoding,) = decoder.decodings(at, [own], include_unseen=True)
    (policy,) = score_items(decoder.policy, [decoding], rows, inputs.catalog.codes, batch=config.batch)
    parts = {"policy": policy}
    if any(config.prior_weights):
        data = decoder.decodings(at, [PLAIN], include_unseen=True)[0].data
        prior = data.pool.item_weight.log().cpu().numpy()
        parts["prior"] = prior[data.rows[:, None], rows]
    batches = np.array_split(np.arange(len(at)), -(-len(at) // config.batch))
    for name, item_feature in decoder.item_features.items():
        parts[name] = np.concatenate([np.take_along_axis(item_feature(at[some]), rows[some], 1) for some in batches])
    return parts


def _valid(rows: np.ndarray) -> np.ndarray:
    return rows[rows >= 0]


def _lists(values: np.ndarray, lengths: np.ndarray, at: np.ndarray, n: int) -> pa.Array:
    """Rows of `values` cut to `lengths`, at the places `at` of n rows; null elsewhere."""
    out: list[list[float] | None] = [None] * n
    for place, row, length in zip(at, values, lengths):
        out[place] = row[:length].astype(float).tolist()
    return pa.array(out, pa.list_(pa.float64()))


def _columns(instances: Instances, items: Items, rows: np.ndarray, scores: np.ndarray) -> dict:
    """The columns that all predictions share."""
    names = [[items.ids[i] for i in _valid(r)] for r in rows]
    values = [s[: len(n)].astype(float).tolist() for s, n in zip(scores, names)]
    return {
        "instance_id": instances.ids,
        "split": pa.array(instances.split.tolist(), pa.string()),
        "user_id": pa.array(instances.users.tolist(), pa.string()),
        "cutoff": pa.array(instances.cutoffs, pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC")),
        "items": pa.array(names, pa.list_(pa.string())),
        "scores": pa.array(values, pa.list_(pa.float64())),
    }
