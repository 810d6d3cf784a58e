"""The table of docs/decoding.md: what each item feature of decoding gives, and what the language model gives on top.

    python -m benchmarks.decoding_tables RUN [--split test]

RUN came as far as predict. All instances with a dislike before the cutoff are decoded again with the weights that the
run chose on validation, and with each feature left out by the weight 0. "Without the model" ranks the items by the
features alone. Differences are paired to the run's own weights; seeds are averaged instance by instance.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from conrec.baselines.base import best
from conrec.decode.decoder import Decoder
from conrec.decode.inputs import Inputs
from conrec.decode.predict_items import predict_items
from conrec.decode.prompt_dataset import Decoding
from conrec.evaluate.bootstrap import bootstrap
from conrec.evaluate.metrics import hit_any
from conrec.features.item_features import FeatureWeights
from conrec.features.prepared_log import PreparedLog
from conrec.run import open_run
from conrec.score.history import HistoryScore
from conrec.score.list_weights import read_weights

AT_ONCE = 256


def main(run: Path, split: str) -> None:
    recipe, _, _ = open_run(run)
    prepared, compressed = run / "prepare", run / "compress"
    inputs = Inputs.of(recipe, PreparedLog(prepared, compressed))
    instances = inputs.instances.of_split(split)
    instances = instances.take(instances.n_dislikes > 0)
    hits: dict[str, list[np.ndarray]] = {}
    for seed in recipe.seeds:
        trained, predicted = run / "utilize" / f"seed{seed}", run / "predict" / f"seed{seed}"
        chosen, exposures = read_weights(predicted)
        history = HistoryScore.load(run / "score" / f"seed{seed}") if chosen.propensity else None
        print(f"seed {seed}: {chosen}")
        decoder = Decoder.of(inputs, seed, trained, exposures, history)
        tried = {"**as chosen**": chosen, "prior alone": FeatureWeights()}
        used = [name for name, value in chosen._asdict().items() if value and name != "temperature"]
        tried |= {f"without {name}": chosen._replace(**{name: 0.0}) for name in used}
        if chosen.temperature != 1:
            tried["at temperature 1"] = chosen._replace(temperature=1.0)
        decodings = decoder.decodings(instances, list(tried.values()))
        found = predict_items(decoder.policy, decodings, recipe.predict, "decode")
        for name, decoding, (items, _) in zip(tried, decodings, found):
            hits.setdefault(name, []).append(hit_any(items, instances.future))
            alone = _by_weight(decoding, recipe.predict.k)
            hits.setdefault(f"{name}, without the model", []).append(hit_any(alone, instances.future))
    means = {name: np.mean(values, axis=0) for name, values in hits.items()}
    print(f"\n{len(instances):,} instances of {split}, {len(recipe.seeds)} seeds\n")
    print(f"| | FHR@{recipe.predict.k} | difference |\n|---|---|---|")
    for name, values in means.items():
        mean, gap = bootstrap(instances.users, np.stack([values, values - means["**as chosen**"]], 1))
        print(f"| {name} | {mean.mean:.4f} | {gap.mean:+.4f} ({gap.low:+.4f} to {gap.high:+.4f}) |")


def _by_weight(decoding: Decoding, k: int) -> np.ndarray:
    """int32 [n, k]: what weighs most in the candidate pool, had the model nothing to say."""
    found = []
    for start in range(0, len(decoding.data), AT_ONCE):
        index = np.arange(start, min(start + AT_ONCE, len(decoding.data)))
        pool, rows = decoding.pool(decoding.data.batch(index))
        weight = pool.item_weight[rows].cpu().numpy()
        found.append(best(np.where(weight > 0, weight, -np.inf), k))
    return np.concatenate(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    arguments = parser.parse_args()
    main(arguments.run, arguments.split)
