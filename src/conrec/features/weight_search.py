"""Choosing what decoding leans on, on validation: one exponent after the other, until no change of one is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from conrec.features.item_features import Setting


def best_setting(
    choices: Mapping[str, Sequence[float]], measure: Callable[[list[Setting]], list[float]]
) -> tuple[Setting, dict[Setting, float]]:
    """The best setting that coordinate ascent finds, and everything that was tried with its figure.

    choices: of every exponent its values; `measure` of some settings, which it may take together. The search begins
    three times, since some exponents help only with others, and parts that say much the same are too much together:
    with the first value of each, and with no prior and of all others the middle value (the larger of two), or the
    largest. Of equals the one that was there first stays.
    """
    tried: dict[Setting, float] = {}

    def look(settings: list[Setting]) -> None:
        new = [setting for setting in settings if setting not in tried]
        tried.update(zip(new, measure(new)) if new else ())

    def ascend(best: Setting) -> Setting:
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
        return best

    ordered = {name: sorted(values) for name, values in choices.items()}
    starts = [{name: values[0] for name, values in choices.items()}]
    starts.append({name: values[0 if name == "prior" else len(values) // 2] for name, values in ordered.items()})
    starts.append({name: values[0 if name == "prior" else -1] for name, values in ordered.items()})
    beginnings = list(dict.fromkeys(Setting(**start) for start in starts))
    look(beginnings)
    return max([ascend(start) for start in beginnings], key=lambda setting: tried[setting]), tried
