"""Which words and categories a mute means, and which values suggest themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from conrec.filter.filter import CoNRecFilter
from conrec.filter.guardrails import Guardrails
from conrec.filter.mutes import Mute, Suggestion
from conrec.filter.publish import write_snapshot
from tests.filter.published import ITEMS, RandomScore, some_items, some_users

TITLES = ["Leopard boots", "a leopard-print bag", "Leopards", "LEOPARD", "ÉTÉ d'or", "été", "黒猫の本", "C++ book", ""]
CATEGORIES = ["Shoes > Boots", "shoes/boots", "boots", "Bootstraps", None, "Shoes", "bags", "a|b;c", "x, y"]


@pytest.mark.parametrize(
    ("kind", "name", "found"),
    [
        ("word", "leopard", [0, 1, 3]),
        ("word", "leopard print", []),
        ("word", "LEOPARD-PRINT", [1]),
        ("word", "été", [4, 5]),
        ("word", "猫", [6]),
        ("word", "c++", [7]),
        ("word", "c", [7]),
        ("category", "boots", [0, 1, 2]),
        ("category", "shoes", [0, 1, 5]),
        ("category", "Shoes > Boots", [0]),
        ("category", "B", [7]),
        ("category", "y", [8]),
    ],
)
def test_whole_words_and_parts_of_a_path(tmp_path: Path, kind: str, name: str, found: list[int]) -> None:
    items = some_items()
    filled = replace(
        items, titles=[*TITLES, *["-"] * (ITEMS - 9)], categories=[*CATEGORIES, *[None] * (ITEMS - len(CATEGORIES))]
    )
    write_snapshot(tmp_path, filled, some_users())
    loaded, mute = CoNRecFilter.load(tmp_path, Guardrails(0, 1.0)), Mute(kind, name)
    loaded.mute("somebody", mute)
    assert loaded.filter("somebody", items.ids).muted == [f"i{n}" for n in found]


def values_of(known: RandomScore, row: int) -> set[str]:
    return {name for names in [known.space.encoder.values(known.fields[row])] for name in names}


def test_a_suggestion_has_a_lift_that_the_score_has_learned(tmp_path: Path) -> None:
    known = RandomScore()
    name = "trait: t3"
    having = [row for row in range(3, ITEMS) if name in values_of(known, row)]
    others = [row for row in range(3, ITEMS) if row not in having]
    disliked = [*having[:6], *others[:2]]
    shown = dict.fromkeys([*disliked, *others], 2)
    known.publish_history(tmp_path, disliked, shown)
    loaded = CoNRecFilter.load(tmp_path, Guardrails(0, 1.0))
    view = loaded.user("u9")
    learned = 0.0
    for row in having[:6]:
        left = "|".join(value for value in known.fields[row]["trait"].split("|") if value != "t3")
        fields = {key: value for key, value in known.fields[row].items() if key != "trait" or left}
        fields |= {"trait": left} if left else {}
        learned += known.score(9, row, known.fields[row]) - known.score(9, row, fields)
    found = {one.mute: one for one in view.suggestions}
    assert (Mute("value", name) in found) == (learned > 0)
    total = 2 * len(shown)
    share = (2 * sum(name in values_of(known, row) for row in shown) + 1) / (total + 1)
    expected = Suggestion(Mute("value", name), 6, 8, pytest.approx(share), pytest.approx(6 / 8 / share))
    if Mute("value", name) in found:
        assert found[Mute("value", name)] == expected
    # For every user: nothing without lift or too rarely, at most three, and what is muted is suggested no more.
    suggested = 0
    for n in range(1, 12):
        for one in (suggestions := loaded.user(f"u{n}").suggestions):
            suggested += 1
            assert one.lift >= 2
            assert one.dislikes >= 3
            rows = [
                row
                for row in disliked
                if (one.mute.name if one.mute.kind == "value" else f"category: {one.mute.name}")
                in values_of(known, row)
            ]
            assert one.dislikes == len(rows)
            loaded.mute(f"u{n}", one.mute)
            muted = loaded.filter(f"u{n}", known.items.ids, 1000.0)
            assert {*muted.muted, *muted.never_again} >= {f"i{row}" for row in rows}
            assert one.mute not in [other.mute for other in loaded.user(f"u{n}").suggestions]
        assert len(suggestions) <= 3
    assert suggested


def test_without_dislikes_or_values_nothing_is_suggested(tmp_path: Path) -> None:
    known = RandomScore()
    known.publish_history(tmp_path / "few", [4, 5], {4: 1, 5: 1})
    assert CoNRecFilter.load(tmp_path / "few").user("u9").suggestions == []
    write_snapshot(tmp_path / "plain", some_items(), some_users())
    assert CoNRecFilter.load(tmp_path / "plain").user("u9").suggestions == []
