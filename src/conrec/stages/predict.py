"""Prediction: 20 items per held-out user, and the likelihood of their candidates."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conrec.config import Recipe
from conrec.data.instances import Instances, Items
from conrec.decode.predict import future_hits, predict_items, score_items
from conrec.decode.prompted import Decoding
from conrec.filtering.replay import read_replay, without_prediction
from conrec.filtering.similarity import max_cosine
from conrec.lm.model import build_policy, load_trained_policy
from conrec.lm.policy import Policy
from conrec.lm.prompts import Context
from conrec.lm.vocabulary import Vocabulary
from conrec.progress import say
from conrec.stages.inputs import Inputs, device
from conrec.stages.utilize import CONTEXTS, future_reward, sampled_reward


def predict(
    recipe: Recipe, prepared: Path, compressed: Path, utilized: Path, out: Path, seed: int, *, lists_only: bool = False
) -> None:
    """Write `predictions.parquet`, `replay.parquet`, `tuning.json` and, for what each training stage gave,
    `stages/*.parquet` into `out`.

    What decoding leans on beside the policy is chosen on validation, for the candidates apart. The
    comparison of the stages is of the policies alone: the prior as it is, nothing else. `lists_only` leaves out that
    comparison and the replay.
    """
    inputs = Inputs.read(recipe, prepared, compressed)
    vocabulary = Vocabulary.load(utilized / "tokenizer")
    policy = build_policy(recipe.lm, vocabulary, inputs.catalog.codewords, seed).to(device())
    held_out = inputs.instances.take(inputs.instances.split != "train")
    warmup: Context = CONTEXTS[-1] if recipe.utilize.warmup_context == "mixed" else recipe.utilize.warmup_context
    contexts = {"warmup": warmup} | {f"stage{n}": s.context for n, s in enumerate(recipe.utilize.stages, start=1)}
    (out / "stages").mkdir(parents=True, exist_ok=True)
    for name, context in contexts.items():
        load_trained_policy(policy, utilized / name)
        if lists_only:
            continue
        # What a stage taught is seen under the prior that it was trained with, not under what decoding is tuned to.
        plain = inputs.decoding(held_out, context, vocabulary)
        ((items, scores),) = _predict(inputs, policy, [plain], f"predict ({name})")
        reward = sampled_reward(policy, plain.data, future_reward(inputs, held_out), recipe)
        columns = _columns(held_out, inputs.items, items, scores)
        pq.write_table(pa.table({**columns, "reward": reward}), out / "stages" / f"{name}.parquet")

    tuned = _tune(inputs, vocabulary, policy, held_out, context)
    best = max(tuned.tried.values())
    say(f"{tuned.setting}: validation FHR@{recipe.predict.k} {best:.4f}")
    decoding = inputs.decoding(held_out, context, vocabulary, **tuned.setting._asdict())
    ((items, scores),) = _predict(inputs, policy, [decoding], "predict")
    likelihood, by_filter, choice = _candidates(inputs, vocabulary, policy, held_out, context, items, prepared)
    columns = _columns(held_out, inputs.items, items, scores)
    columns |= {"candidate_scores": likelihood, "candidate_filter_scores": by_filter}
    pq.write_table(pa.table(columns), out / "predictions.parquet")
    if not lists_only:
        _write_replay(inputs, vocabulary, policy, held_out, context, tuned, prepared, out)
    weight, pull, follow = tuned.setting
    tuning = {"prior_weight": weight, "pull": pull, "follow": follow, "validation_FHR": tuned.tried, **choice}
    (out / "tuning.json").write_text(json.dumps(tuning, indent=2))


class Setting(NamedTuple):
    """What decoding leans on beside the policy (see `decode.prompted.Decoding`)."""

    weight: float
    """Exponent of the day's prior."""
    pull: float
    follow: float

    def __str__(self) -> str:
        return f"prior {self.weight:g}, pull {self.pull:g}, follow {self.follow:g}"


@dataclass(frozen=True)
class Tuned:
    """What was chosen on validation, and the FHR of everything that was tried."""

    setting: Setting
    tried: dict[str, float]


def _tune(inputs: Inputs, vocabulary: Vocabulary, policy: Policy, held_out: Instances, context: Context) -> Tuned:
    """The setting with the best FHR on validation (first of equals)."""
    config = inputs.recipe.predict
    validation = held_out.take((held_out.split == "validation") & (held_out.n_dislikes > 0))
    future = [validation.future[n] for n in range(len(validation))]
    settings = [Setting(*s) for s in itertools.product(config.prior_weights, config.pulls, config.follows)]
    decodings = [inputs.decoding(validation, context, vocabulary, **s._asdict()) for s in settings]
    found = _predict(inputs, policy, decodings, "tune on validation")
    tried = {s: float(future_hits(items, future).mean()) for s, (items, _) in zip(settings, found)}
    return Tuned(max(settings, key=lambda s: tried[s]), {str(setting): fhr for setting, fhr in tried.items()})


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
        normalisation=config.normalisation,
        title=title,
    )


def _write_replay(
    inputs: Inputs,
    vocabulary: Vocabulary,
    policy: Policy,
    held_out: Instances,
    context: Context,
    tuned: Tuned,
    prepared: Path,
    out: Path,
) -> None:
    """Predictions for the replay's users who disliked nothing in a window: they are no instances, but are filtered."""
    tables = []
    for split in ("validation", "test"):
        replay = read_replay(prepared, inputs.items, held_out, split, inputs.recipe.split)
        left = without_prediction(replay, held_out)
        if len(left):
            decoding = inputs.decoding(left, context, vocabulary, **tuned.setting._asdict())
            ((items, scores),) = _predict(inputs, policy, [decoding], f"predict ({split}, replay)")
            tables.append(pa.table(_columns(left, inputs.items, items, scores)))
    if tables:
        pq.write_table(pa.concat_tables(tables), out / "replay.parquet")


def _candidates(
    inputs: Inputs,
    vocabulary: Vocabulary,
    policy: Policy,
    held_out: Instances,
    context: Context,
    predicted: np.ndarray,
    prepared: Path,
) -> tuple[pa.Array, pa.Array, dict]:
    """Scores of the candidate sets, by likelihood and by the filter, aligned with the held-out instances."""
    config = inputs.recipe.predict
    table = pq.read_table(prepared / "candidates.parquet")
    place = {int(i): n for n, i in enumerate(held_out.ids)}
    at = np.array([place[i] for i in table["instance_id"].to_pylist()], dtype=np.int64)
    lists = table["candidates"].combine_chunks()
    width = int(pc.max(pc.list_value_length(lists)).as_py())
    row = {item: n for n, item in enumerate(inputs.items.ids)}
    rows = np.full((len(at), width), -1, dtype=np.int64)
    for n, names in enumerate(lists.to_pylist()):
        rows[n, : len(names)] = [row[name] for name in names]
    instances = held_out.take(at)

    def score(index: np.ndarray, settings: list[Setting]) -> list[np.ndarray]:
        """Log-likelihoods of the candidates of some instances under each setting, -inf beyond a list's end."""
        some = instances.take(index)
        decodings = [inputs.decoding(some, context, vocabulary, **s._asdict(), everything=True) for s in settings]
        padded = np.where(rows < 0, rows[:, :1], rows)[index]
        scored = score_items(
            policy,
            decodings,
            padded,
            inputs.catalog.codes,
            batch=config.batch,
            normalisation=config.normalisation,
        )
        return [np.where(rows[index] < 0, -np.inf, scores) for scores in scored]

    weights = dict.fromkeys((0.0, *config.prior_weights))
    settings = [Setting(*s) for s in itertools.product(weights, config.pulls, config.follows)]
    on_validation = score(np.flatnonzero(instances.split == "validation"), settings)
    tried = {s: float((scores.argmax(1) == 0).mean()) for s, scores in zip(settings, on_validation)}
    best = max(settings, key=lambda s: tried[s])
    (likelihood,) = score(np.arange(len(instances)), [best])
    unit = inputs.catalog.unit
    by_filter = np.stack(
        [max_cosine(unit[np.maximum(rows[n], 0)], unit[_valid(predicted[at[n]])])[0] for n in range(len(at))]
    )
    lengths = (rows >= 0).sum(1)
    return (
        _lists(likelihood, lengths, at, len(held_out)),
        _lists(by_filter, lengths, at, len(held_out)),
        {
            "candidate_prior_weight": best.weight,
            "candidate_pull": best.pull,
            "candidate_follow": best.follow,
            "validation_CandAcc": {str(setting): accuracy for setting, accuracy in tried.items()},
        },
    )


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
        "cut": pa.array(instances.cuts, pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC")),
        "items": pa.array(names, pa.list_(pa.string())),
        "scores": pa.array(values, pa.list_(pa.float64())),
    }
