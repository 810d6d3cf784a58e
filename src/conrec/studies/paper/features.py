"""What each item feature gives: the lists and candidates without it, its weights learned anew."""

from conrec.stages.predict import WITHOUT
from conrec.studies.cells import Cell
from conrec.studies.models import CONREC, Variant
from conrec.studies.study import StudyContext


def cells(context: StudyContext, own: Variant, first: Variant) -> list[Cell]:
    """All features, and each of the recipe's left out; one run learns and predicts for all of these."""
    return [context.models.cell(CONREC, own), *context.models.of_features(own, WITHOUT, "without")]
