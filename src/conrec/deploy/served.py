"""What a run serves: its score, and the thresholds that were calibrated for it."""

from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conrec.data.exposures import DISLIKED
from conrec.errors import ConrecError
from conrec.evaluate.protocol import OURS
from conrec.evaluate.results import Calibration, read
from conrec.files import file_digest, read_json
from conrec.filter.thresholds import Thresholds
from conrec.score.filter_score import FilterScore, run_score
from conrec.score.probability import DislikeProbability


def served_score(run: Path, seed: int) -> tuple[FilterScore, Calibration | None]:
    """The score to serve and its calibration: the run's own score, unless the calibration is for the paper's.

    The calibration is None where there is no calibration.json. ConrecError for one that cannot be read, or that was
    made from other scores than the run holds now.
    """
    folder = run / "filter" / f"seed{seed}"
    score = run_score(run, seed)
    path = run / "calibration.json"
    if not path.exists():
        return score, None
    calibration = read(path, Calibration, "run conrec calibrate again")
    if file_digest(folder / "scores.parquet") != calibration.evidence.scores:
        raise ConrecError(f"{path}: made from other scores than {folder} holds; run conrec calibrate again")
    return FilterScore() if calibration.score == "paper" else score, calibration


def served_probability(run: Path, seed: int, calibration: Calibration | None) -> DislikeProbability | None:
    """What turns the score that is served into probabilities of a dislike; None where validation holds no exposures."""
    column = OURS if calibration is None else calibration.evidence.column
    table = pq.read_table(run / "filter" / f"seed{seed}" / "scores.parquet", columns=["split", "label", column])
    table = table.filter(pc.equal(table["split"], "validation"))
    return DislikeProbability.fit(table[column].to_numpy(), table["label"].to_numpy() == DISLIKED)


def served_thresholds(
    run: Path, seed: int, categories: list[str | None], given: float | None
) -> tuple[FilterScore, Thresholds, str]:
    """The score, the thresholds, and where they are from, in one line.

    `given` (--threshold) counts before the run's calibration, and that before what the run's replay chose. A
    calibration that could promise nothing drops nothing. categories: one an item. ConrecError where there is neither.
    """
    if given is not None:
        score = run_score(run, seed)
        if score.name == "paper" and not -1 <= given <= 1:
            raise ConrecError(f"--threshold {given}: a cosine lies between -1 and 1; give such a value")
        return score, Thresholds({"threshold": given}), f"threshold {given:.4g}, as given"
    score, calibration = served_score(run, seed)
    if calibration is None:
        folder = run / "filter" / f"seed{seed}"
        threshold = read_json(folder / "replay.json").get("threshold")
        if threshold is None:
            raise ConrecError(f"--threshold is missing, and no replay in {folder} could choose one; give one")
        return score, Thresholds({"threshold": threshold}), f"threshold {threshold:.4g}, chosen by the run's replay"
    if calibration.segments is not None:
        said = f"thresholds by {calibration.segments.by}, calibrated"
    elif calibration.threshold is None:
        said = "no threshold: the calibration could promise nothing, so nothing is dropped"
    else:
        said = f"threshold {calibration.threshold:.4g}, calibrated"
    return score, Thresholds(msgspec.to_builtins(calibration), pa.array(categories, pa.string())), said
