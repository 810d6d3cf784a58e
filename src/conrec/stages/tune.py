"""Choosing what decoding leans on, on validation: one exponent after the other, until no change of one is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from conrec.decode.leanings import Setting


def best_setting(
    choices: Mapping[str, Sequence[float]], measure: Callable[[list[Setting]], list[float]]
) -> tuple[Setting, dict[Setting, float]]:
    """The setting that coordinate ascent ends at, and everything that was tried with its figure.

    choices: of every exponent its values, the first of each is where the search begins; `measure` of some settings,
    which it may take together. Of equals the one that was there first stays.
    """
    best = Setting(**{name: values[0] for name, values in choices.items()})
    tried: dict[Setting, float] = {}

    def look(settings: list[Setting]) -> None:
        new = [setting for setting in settings if setting not in tried]
        tried.update(zip(new, measure(new)) if new else ())

    look([best])
    unchanged = 0
    while unchanged < len(choices):
        for name, values in choices.items():
            around = [best._replace(**{name: value}) for value in values]
            look(around)
            better = max(around, key=lambda setting: (tried[setting], setting == best))
            unchanged = 1 if better != best else unchanged + 1
            best = better
            if unchanged == len(choices):
                break
    return best, tried
