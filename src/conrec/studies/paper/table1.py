"""Table 1: every system on the same instances, CoNRec against the best other."""

from __future__ import annotations

from collections.abc import Sequence

from conrec.studies.cells import Cell
from conrec.studies.datasets import Dataset
from conrec.studies.models import CONREC, FEATURES, POLICY, item_features, policy, variant
from conrec.studies.study import METRICS, Study, StudyContext
from conrec.studies.systems import ORACLE, further, published, trivial

POPULARITY = tuple(f"popularity_{days}" for days in ("7d", "14d", "30d", "all", "decayed"))
"""All that may be known of users without a dislike, to most systems."""


def cells(context: StudyContext, dataset: Dataset, seeds: Sequence[int]) -> list[Cell]:
    """CoNRec, the ten published systems, simpler ones, and the simulator's truth."""
    first = variant(dataset, seeds[0])
    found = []
    for seed in seeds:
        here = variant(dataset, seed)
        found.append(context.models.cell(CONREC, here))
        found.append(context.models.cell(POLICY, policy(dataset, seed)))
        found.append(context.models.cell(FEATURES, item_features(dataset, seed)))
        found += context.models.alone(here)
        for other in [*trivial(), *further(context.quick), *published(context.quick)]:
            found.append(context.systems.cell(other, here, first))
        oracle = context.systems.oracle(here)
        found += [oracle] if oracle else []
    return found


def _paper(*values: float | None) -> dict[str, float]:
    return {name: value for name, value in zip(METRICS, values) if value is not None}


STUDY = Study(
    name="table1",
    title="All systems (table 1)",
    measures="CoNRec beside ten published systems and simpler ones: the same instances, items on offer, item "
    "prior and tuning budget for all; each of the ten trained on dislikes, and again with positives. "
    f"`{POLICY}` is CoNRec's model under the item prior alone, as the others are; `{FEATURES}` ranks by the other "
    f"item features (docs/decoding.md), without the model, and `{CONREC}'s prior` and the like by one alone.",
    cells=cells,
    metrics=("FHR@20", "HR@20", "LUF@20", "LIF@20", "CandAcc", "ZUF@20"),
    headlines=(*METRICS, "ZUF@20"),
    best_other=CONREC,
    own=(CONREC,),
    second={"ZUF@20": POPULARITY},
    aside=(ORACLE,),
    parts=f"{CONREC}'s ",
    paper={
        "caser": _paper(0.0098, 0.0128, 0.0085, 0.0135),
        "sasrec": _paper(0.0180, 0.0262, 0.0169, 0.0280),
        "bert4rec": _paper(0.0186, 0.0260, 0.0173, 0.0311),
        "fdsa": _paper(0.0284, 0.0374, 0.0232, 0.0362),
        "s3rec": _paper(0.0268, 0.0329, 0.0206, 0.0382),
        "p5_cid": _paper(0.0262, 0.0381, 0.0220, 0.0356),
        "tiger": _paper(0.0264, 0.0388, 0.0232, 0.0360),
        "tallrec": _paper(None, None, None, None, 0.2686),
        "instructrec": _paper(None, None, None, None, 0.3453),
        "lc_rec+positives": _paper(0.0159, 0.0381, 0.0199, 0.0351, 0.1333),
        "lc_rec": _paper(0.0296, 0.0385, 0.0258, 0.0397, 0.2892),
        CONREC: _paper(0.0330, 0.0441, 0.0297, 0.0496, 0.6950),
    },
    source="its table 1, on a log of Taobao",
    notes="The best other system is chosen on the test instances, metric by metric: the hardest opponent there is.",
)
