"""The sequence models of `conrec.baselines` beside those of RecBole 1.2.1: same split, same items, same lists.

    python -m benchmarks.recbole runs/mt --folder runs/recbole

makes an environment of RecBole's own in FOLDER/venv (it needs older packages than ours), writes the run's dislikes
there in RecBole's format (each training dislike with what the user disliked before it; the instances of validation
and test with their next dislike), lets RecBole train each model with its own loop, defaults, and early stopping,
brings its scores of the test instances back, and trains ours. Both are then turned into lists by the same code: items
on offer, not judged before, and disliked in training at least once; no prior. Prints HR@20 and FHR@20 and the paired
difference with its 95 % interval over users. Interrupted, it goes on with the models that are missing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

if "--inside" not in sys.argv or TYPE_CHECKING:  # RecBole's environment has neither
    import numpy as np
    import tyro

PINS = ("recbole==1.2.1", "torch==2.13.*", "numpy<2", "pandas<3", "setuptools<81")
MODELS = ("SASRec", "BERT4Rec", "Caser", "FDSA", "S3Rec")
SETTINGS: dict[str, Any] = {
    "USER_ID_FIELD": "user_id",
    "ITEM_ID_FIELD": "item_id",
    "load_col": {"inter": ["user_id", "item_id_list", "item_id"], "item": ["item_id", "category", "cluster"]},
    "alias_of_item_id": ["item_id_list"],
    "benchmark_filename": ["train", "valid", "test"],
    "train_neg_sample_args": None,
    "loss_type": "CE",
    "selected_features": ["category", "cluster"],
    "item_attribute": "category",
    "metrics": ["Hit"],
    "topk": [20],
    "valid_metric": "Hit@20",
    "eval_args": {"mode": "full", "order": "TO"},
    "eval_batch_size": 512,
    "train_batch_size": 256,
    "learning_rate": 3e-3,
    "stopping_step": 5,
    "show_progress": False,
    "use_gpu": False,
}
"""RecBole's defaults but for what makes it quick enough on two cores (batches, learning rate, patience)."""


def compare(
    run: tyro.conf.Positional[Path],
    folder: Path,
    models: tuple[str, ...] = MODELS,
    length: int = 10,
    epochs: int = 40,
    pretraining_epochs: int = 5,
) -> None:
    """Print the table.

    Args:
        run: A finished run folder; it is not changed.
        folder: Where the environment, the exported data and the scores are kept.
        models: By RecBole's names.
        length: Of the history, for both (RecBole pads every history to it, and takes that much longer).
        epochs: At most, for both.
        pretraining_epochs: Of S3-Rec, for both.
    """
    import numpy as np

    from conrec.baselines.base import Recommender, training_data
    from conrec.baselines.bert4rec import BERT4Rec
    from conrec.baselines.caser import Caser
    from conrec.baselines.fdsa import FDSA
    from conrec.baselines.s3rec import S3Rec
    from conrec.baselines.sasrec import SASRec
    from conrec.data.instances import Instances
    from conrec.evaluate.bootstrap import bootstrap
    from conrec.evaluate.metrics import future_hit_rate, hit_rate
    from conrec.features.prepared_log import PreparedLog

    folder = folder.resolve()
    log = PreparedLog(run / "prepare", run / "compress")
    items, instances = log.items, log.instances
    instances = instances.take(instances.n_dislikes > 0)
    known = training_data(log)
    test = instances.of_split("test")
    export(known, test, folder / "data", length)
    python = environment(folder / "venv")
    disliked = np.unique(known.events.items[known.events.is_dislike])

    class Given(Recommender):
        """Scores that are there already, for the targets of training alone."""

        def __init__(self, scores: np.ndarray) -> None:
            self.known, self.given = known, np.full_like(scores, -np.inf)
            self.given[:, disliked] = scores[:, disliked]

        def scores(self, instances: Instances) -> np.ndarray:
            return self.given

    def figures(scores: np.ndarray) -> np.ndarray:
        given = Given(scores)
        lists = given.lists(test, given.scores(test), 20)
        return np.column_stack([hit_rate(lists, test)[1], future_hit_rate(lists, test)[1]])

    trained = {"learning_rate": SETTINGS["learning_rate"], "epochs": epochs}
    common = trained | {"length": length}
    ours = {
        "SASRec": SASRec(loss="softmax", dropout=0.5, **common),
        "BERT4Rec": BERT4Rec(dropout=0.2, **common),
        "Caser": Caser(loss="softmax", dropout=0.4, order=length, **trained),
        "FDSA": FDSA(loss="softmax", layers=2, dropout=0.5, **common),
        "S3Rec": S3Rec(loss="softmax", dropout=0.5, pretraining_epochs=pretraining_epochs, **common),
    }
    print("| model | | RecBole | ours | difference |\n|---|---|---|---|---|")
    for model in models:
        path = folder / f"{model}.npy"
        if not path.exists():
            limits = {"MAX_ITEM_LIST_LENGTH": length, "epochs": epochs}
            limits |= {"pretrain_epochs": pretraining_epochs, "save_step": pretraining_epochs}
            environ = os.environ | {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
            # -P: this very file must not stand in for the package of its name.
            command = [str(python), "-P", str(Path(__file__).resolve()), "--inside", model, json.dumps(limits)]
            subprocess.run(command, cwd=folder, env=environ, check=True)
        theirs = figures(scores_by_row(path, len(items)))
        system = ours[model]
        system.fit(known)
        mine = figures(np.concatenate([system.scores(part) for _, part in system.parts(test)]))
        for name, estimate, a, b in zip(("HR@20", "FHR@20"), bootstrap(test.users, mine - theirs), theirs.T, mine.T):
            interval = f"{estimate.mean:+.3f} ({estimate.low:+.3f} to {estimate.high:+.3f}), {estimate.verdict}"
            print(f"| {model} | {name} | {a.mean():.3f} | {b.mean():.3f} | {interval} |", flush=True)


def environment(folder: Path) -> Path:
    """The interpreter of RecBole's environment, which is made where it is not there."""
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PINS], check=True)
        (folder / "complete").touch()
    return python


def export(known: Any, test: Any, folder: Path, length: int) -> None:
    """Atomic files of RecBole: dislikes.{train,valid,test}.inter and dislikes.item; items by row, users by name's rank.

    Content becomes a cluster of its own for RecBole, which has no use for vectors here.
    """
    import numpy as np

    from conrec.baselines.s3rec import attributes
    from conrec.features.sequences import UserEvents

    target = folder / "dislikes"
    if target.exists():
        return
    partial = folder / "dislikes.partial"
    partial.mkdir(parents=True, exist_ok=True)
    events, users = UserEvents.of_log(known.events, "dislikes")
    number = {user: n for n, user in enumerate(users.tolist())}
    rows: dict[str, list[tuple[int, list[int], int]]] = {"train": [], "valid": [], "test": []}
    for first, stop in zip(*_runs(events.owners)):
        history = events.rows[first:stop].tolist()
        rows["train"] += [(int(events.owners[first]), history[:n], history[n]) for n in range(1, len(history))]
    for name, part in (("valid", known.validation), ("test", test)):
        for n in range(len(part)):
            user = number.setdefault(str(part.users[n]), len(number))
            rows[name].append((user, part.dislikes[n].tolist(), int(part.next[n])))
    for name, lines in rows.items():
        text = ["user_id:token\titem_id_list:token_seq\titem_id:token"]
        text += [f"{user}\t{' '.join(map(str, history[-length:]))}\t{item}" for user, history, item in lines]
        (partial / f"dislikes.{name}.inter").write_text("\n".join(text) + "\n")
    table = attributes(known, 0)
    categories = sorted({c for c in known.items.categories if c is not None})
    place = {c: n for n, c in enumerate(categories)}
    clusters = np.argmax(table[:, len(categories) :], axis=1)
    text = ["item_id:token\tcategory:token\tcluster:token"]
    text += [
        f"{row}\t{place.get(category, 'none')}\t{clusters[row]}" for row, category in enumerate(known.items.categories)
    ]
    (partial / "dislikes.item").write_text("\n".join(text) + "\n")
    partial.rename(target)


def _runs(owners: Any) -> tuple[Any, Any]:
    """Where each owner's events start and stop."""
    import numpy as np

    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    return starts, np.append(starts[1:], len(owners))


def scores_by_row(path: Path, n_items: int) -> Any:
    """float32 [B, n_items] by our item rows; -inf for items RecBole never met."""
    import numpy as np

    scores = np.load(path, allow_pickle=False)
    tokens = json.loads(path.with_suffix(".json").read_text())
    result = np.full((len(scores), n_items), -np.inf, np.float32)
    result[:, [int(token) for token in tokens[1:]]] = scores[:, 1 : len(tokens)]
    return result


def inside(model: str, limits: dict[str, Any]) -> None:
    """In RecBole's environment, in FOLDER: train, then write MODEL.npy (scores of the test rows) and its items."""
    import numpy as np
    import torch
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_logger, init_seed

    settings = SETTINGS | limits | {"data_path": "data", "checkpoint_dir": f"saved/{model}", "seed": 0}
    if model == "S3Rec":
        settings |= {"train_stage": "pretrain"}

    def trained(settings: dict[str, Any]) -> tuple[Any, Any, Any]:
        config = Config(model=model, dataset="dislikes", config_dict=settings)
        init_seed(config["seed"], config["reproducibility"])
        init_logger(config)
        dataset = create_dataset(config)
        train, valid, test = data_preparation(config, dataset)
        network = get_model(model)(config, train.dataset).to(config["device"])
        trainer = get_trainer(config["MODEL_TYPE"], model)(config, network)
        trainer.fit(train, valid, show_progress=False)
        if trainer.saved_model_file and Path(trainer.saved_model_file).exists():
            network.load_state_dict(torch.load(trainer.saved_model_file, weights_only=False)["state_dict"])
        return network, dataset, test

    network, dataset, test = trained(settings)
    if model == "S3Rec":
        path = Path(f"saved/{model}/{model}-dislikes-{limits['pretrain_epochs']}.pth")
        network, dataset, test = trained(settings | {"train_stage": "finetune", "pre_model_path": str(path)})
    network.eval()
    with torch.no_grad():
        scores = [network.full_sort_predict(batch[0]).reshape(len(batch[0]), -1) for batch in test]
    Path(f"{model}.json").write_text(json.dumps(dataset.field2id_token["item_id"].tolist()))
    np.save(f"{model}.npy", torch.cat(scores).numpy().astype(np.float32))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2], json.loads(sys.argv[3]))
    else:
        tyro.cli(compare)
