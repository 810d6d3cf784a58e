"""What a run serves: its score, and the thresholds that were calibrated for it."""

from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from conrec.data.exposures import DISLIKED
from conrec.errors import ConrecError
from conrec.evaluate.protocol import OURS
from conrec.evaluate.results import Calibration, read
from conrec.files import file_digest, read_json
from conrec.filter.thresholds import Thresholds
from conrec.report.texts import sentences
from conrec.score.history import HistoryScore
from conrec.score.probability import DislikeProbability


def served_score(run: Path, seed: int) -> HistoryScore:
    """The score of a run whose filter was replayed; ConrecError for another one, and where it cannot be read."""
    folder = run / "filter" / f"seed{seed}"
    if not (folder / "replay.json").is_file():
        raise ConrecError(f"{folder}: no replay there; bring the run as far as filter first, or take a longer log")
    return HistoryScore.load(run / "score" / f"seed{seed}")


def calibrated(run: Path, seed: int, name: str = "calibration.json") -> Calibration | None:
    """The run's calibration; None where its file (`name`: that of a surface) is not there.

    ConrecError for one that cannot be read, or that was made from other scores than the run holds now.
    """
    path, scores = run / name, run / "filter" / f"seed{seed}" / "scores.parquet"
    if not path.exists():
        return None
    found = read(path, Calibration, "run conrec calibrate again")
    if file_digest(scores) != found.evidence.scores:
        raise ConrecError(f"{path}: made from other scores than {scores.parent} holds; run conrec calibrate again")
    return found


def calibrations(run: Path, seed: int) -> dict[str, Any] | None:
    """What a snapshot holds: the run's calibration, with those of surfaces, by name, as `surfaces` where there are."""
    found, own = msgspec.to_builtins(calibrated(run, seed)), sorted(run.glob("calibration.*.json"))
    surfaces = {path.name.split(".")[1]: msgspec.to_builtins(calibrated(run, seed, path.name)) for path in own}
    return (found or {"threshold": None}) | {"surfaces": surfaces} if own else found


def served_probability(run: Path, seed: int) -> DislikeProbability | None:
    """What turns the score into probabilities of a dislike; None where validation holds no exposures."""
    path, wanted = run / "filter" / f"seed{seed}" / "scores.parquet", [("split", "=", "validation")]
    table = pq.read_table(path, columns=["label", OURS], filters=wanted)
    return DislikeProbability.fit(table[OURS].to_numpy(), table["label"].to_numpy() == DISLIKED)


def served_thresholds(
    run: Path, seed: int, categories: list[str | None], given: float | None
) -> tuple[Thresholds, str]:
    """The thresholds, and where they are from, in one line.

    `given` (--threshold) counts before the run's calibration, and that before what the run's replay chose. A
    calibration that could promise nothing drops nothing. categories: one an item. ConrecError where there is neither.
    """
    if given is not None:
        return Thresholds({"threshold": given}), f"threshold {given:.4g}, as given"
    calibration = calibrated(run, seed)
    if calibration is None:
        folder = run / "filter" / f"seed{seed}"
        threshold = read_json(folder / "replay.json").get("threshold")
        if threshold is None:
            raise ConrecError(f"--threshold is missing, and no replay in {folder} could choose one; give one")
        return Thresholds({"threshold": threshold}), f"threshold {threshold:.4g}, chosen by the run's replay"
    thresholds = Thresholds(msgspec.to_builtins(calibration), pa.array(categories, pa.string()))
    return thresholds, sentences("deploy/calibration.txt").in_use(calibration)
