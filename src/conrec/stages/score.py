"""Stage: learn the history score on the backtest windows of the training period."""

import json
from pathlib import Path

import numpy as np

from conrec.files import write_json
from conrec.pipeline.job import Job
from conrec.progress import say
from conrec.score.backtest import backtests
from conrec.score.history import HistoryScore

TOO_LITTLE = "the training periods do not hold both dislikes and likes"


def learn_score(job: Job) -> None:
    """Write `score.json` and, where the training period holds enough to learn from, `history.safetensors`.

    Decoding reads the score as the dislike propensity, and the filter serves it. Nothing of validation or test is
    looked at. Where no window holds both dislikes and likes, `score.json` says so, and there is no history score.
    """
    log_view, split, out, seed = job.log.view, job.log.split, job.out, job.seed
    windows = backtests(log_view, split, job.recipe.split)
    disliked = np.concatenate([np.zeros(0, bool), *(one.replay.labels.values > 0 for one in windows)])
    learned = bool(disliked.any() and not disliked.all())
    if learned:
        HistoryScore.fit(log_view, split.known_items(log_view.items), windows, seed).save(out)
    else:
        say(f"score: {TOO_LITTLE}; there will be no filter, and decoding goes without the propensity")
    counts = {"windows": len(windows), "dislikes": int(disliked.sum()), "likes": int((~disliked).sum())}
    table = {"history": learned, "reason": None if learned else TOO_LITTLE, **counts}
    write_json(out / "score.json", table)


def read_history(folder: Path) -> HistoryScore | None:
    """What the stage learned, from its folder; None where there was too little to learn from."""
    table = json.loads((folder / "score.json").read_text(encoding="utf-8"))
    return HistoryScore.load(folder) if table["history"] else None
