"""The A/B: both arms see the same candidates, what is shown follows from the filter, and the summary counts."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import ab
from conrec.config import SimulateConfig
from conrec.filter.decision import Decision
from conrec.simulate import make_platform

CONFIG = SimulateConfig(users=60, items=80, days=20, seed=5)


class Odd:
    """A filter that keeps every item with an odd number, and fills up with one that was not asked about."""

    def __init__(self, spare: str) -> None:
        self.spare = spare

    def filter(self, user: str, candidates: list[str], want: int, replace: bool) -> Decision:
        kept = [item for item in candidates if int(item[1:]) % 2][:want]
        return Decision(kept=kept + [self.spare] * (replace and len(kept) < want), dropped=[], scores=[])


@pytest.fixture(scope="module")
def platform() -> Any:
    platform, rng = make_platform(CONFIG)
    for day in range(10):
        platform.run_day(day, rng)
    return platform


def shown(arm: str, platform: Any) -> dict[str, list[str]]:
    """What each user is shown on the next day, in order."""
    shop = ab.Shop(ab.UNFILTERED, platform, Path())
    shop.arm = arm
    ids = platform.catalogue.ids
    shop.filter = None if arm == ab.UNFILTERED else Odd(ids[0])  # type: ignore[assignment]
    table = shop.run_day(10, np.random.default_rng(1))
    table = table.filter([kind == "exposure" for kind in table["kind"].to_pylist()])
    assert shop.counts[:, 0].sum() == len(table)
    found: dict[str, list[str]] = {}
    for user, item in zip(table["user_id"].to_pylist(), table["item_id"].to_pylist()):
        found.setdefault(user, []).append(item)
    return found


def test_what_is_shown_follows_from_the_filter(platform: Any) -> None:
    ranked: dict[str, list[str]] = {}
    candidates = copy.deepcopy(platform)
    candidates.config = replace(CONFIG, exposures_per_day=ab.SEND * CONFIG.exposures_per_day)
    users, items, seconds = candidates._show(10, np.random.default_rng(1))
    for n in np.lexsort((seconds, users)):
        ranked.setdefault(platform.people.ids[users[n]], []).append(platform.catalogue.ids[items[n]])
    spare = platform.catalogue.ids[0]
    lists = {arm: shown(arm, platform) for arm in ab.ARMS}
    for user, own in ranked.items():
        n = round(len(own) / ab.SEND)
        odd = [item for item in own if int(item[1:]) % 2]
        first = [item for item in own[:n] if int(item[1:]) % 2]
        filled = list(dict.fromkeys([*first, *[spare] * (len(first) < n)]))
        wanted = {ab.UNFILTERED: own[:n], ab.FILTERED: odd[:n], ab.REMOVAL: first, ab.FILLED: filled}
        for arm, expected in wanted.items():
            assert lists[arm].get(user, []) == expected, (arm, user)


def test_summary_and_table() -> None:
    base = np.random.default_rng(0).poisson(5, (200, 4)) + 1.0
    counts = {arm: (base * factor).tolist() for arm, factor in zip(ab.ARMS, (1.0, 0.5, 1.0, 2.0))}
    promised = {arm: {"dislikes": -0.4, "clicks": -0.01} for arm in (ab.REMOVAL, ab.FILTERED)}
    found = ab.summary([{"counts": counts, "promised": promised}] * 2)
    assert found["users"] == 400
    for arm, change in zip(ab.ARMS[1:], (-0.5, 0.0, 1.0)):
        for values in found["changes"][arm].values():
            np.testing.assert_allclose(values, change, atol=1e-12)
    table = ab.markdown(found, 2, 0.01)
    assert f"| filtered | {' | '.join(['-50.0% (-50.0% to -50.0%)'] * 4)} |" in table
    assert "| filtered, by the log before |  | -40.0% | -1.0% |  |" in table
