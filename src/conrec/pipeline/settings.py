"""A recipe that shows a stage the settings that it declares, and nothing else."""

from collections.abc import Sequence
from typing import Any, cast

from conrec.config import Recipe


class UndeclaredSetting(AssertionError):
    """A stage read a setting that its declaration leaves out: an error in the program.

    A change of that setting would not rebuild the stage.
    """


def restricted(recipe: Recipe, stage: str, reads: Sequence[str]) -> Recipe:
    """The recipe as the stage of this name sees it.

    reads: sections (`items`) and single settings (`predict.beams`). A section that is declared as a whole is the real
    one. Reading anything else raises UndeclaredSetting.
    """
    return cast(Recipe, _Restricted(recipe, stage, frozenset(reads), ""))


class _Restricted:
    """A recipe (`path` is empty) or a section of it (`predict.`)."""

    def __init__(self, shown: Any, stage: str, reads: frozenset[str], path: str) -> None:
        self._shown, self._stage, self._reads, self._path = shown, stage, reads, path

    def __reduce__(self) -> tuple[Any, ...]:  # for workers elsewhere
        return _Restricted, (self._shown, self._stage, self._reads, self._path)

    def __getattr__(self, name: str) -> Any:
        value, path = getattr(self._shown, name), self._path + name
        if path in self._reads:
            return value
        if any(one.startswith(f"{path}.") for one in self._reads):
            return _Restricted(value, self._stage, self._reads, f"{path}.")
        raise UndeclaredSetting(f"the stage {self._stage} reads {path}, which its declaration (`reads`) leaves out")
