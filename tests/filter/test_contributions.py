"""What a score added up: it sums, it is what taking a value away changes, and it names the right dislike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conrec.data.schema import SEPARATOR
from conrec.errors import ConrecError
from conrec.features.log_view import LogView
from conrec.filter.contributions import KINDS, NAMED, Contribution, Why, amounts
from conrec.filter.filter import CoNRecFilter
from conrec.filter.guardrails import Guardrails
from conrec.filter.publish import SnapshotItems, write_snapshot
from conrec.filter.user_store import Users
from conrec.score.factors import LARGEST, VALUES, UserFactors, served_scores
from conrec.score.history import HistoryScore
from conrec.score.item_values import ItemValues
from tests.features.log_view_for_tests import CONFIG, replay_of, small_log_view, split_of
from tests.filter.published import FACTORS, ITEMS, RandomScore, lists_of
from tests.small_log import CUTS

EVERYTHING = [f"i{n}" for n in range(ITEMS)]
USERS = 12


def without(item: dict[str, str], name: str) -> dict[str, str]:
    """The fields less one value of that name, by their text."""
    field, value = name.split(": ", 1)
    left = [] if field == "price" else [part for part in SEPARATOR.split(item[field]) if part.lower() != value]
    return {key: text for key, text in (item | {field: "|".join(left)}).items() if text}


def opened(known: RandomScore, snapshots: Path) -> CoNRecFilter:
    """Everything is over the threshold."""
    known.publish(snapshots)
    return CoNRecFilter.load(snapshots, Guardrails(0, 1.0), threshold=-1000.0)


@pytest.fixture(scope="module")
def known() -> RandomScore:
    return RandomScore()


def every_why(loaded: CoNRecFilter, user: int) -> list[Why]:
    found = [why for why in loaded.filter(f"u{user}", EVERYTHING).why if why is not None]
    assert len(found) == ITEMS
    return found


@pytest.mark.parametrize("values", [True, False])
def test_contributions_sum_to_the_score(values: bool, tmp_path: Path) -> None:
    for seed in range(3):
        known, rng = RandomScore(seed, values), np.random.default_rng(seed)
        known.publish(tmp_path)
        now, factors, rows = CoNRecFilter.load(tmp_path).snapshot, known.items.factors, rng.permutation(ITEMS)
        for n in range(USERS):
            user = UserFactors(known.users.vectors[n], float(known.users.biases[n]))
            added = amounts(now, user, rows)
            assert added.shape == (ITEMS, len(KINDS) + (LARGEST if values else 0))
            np.testing.assert_allclose(added.sum(axis=1), served_scores(factors, user, rows), atol=1e-4)
            # One by one, as the formula has them.
            q, p = factors.vectors[rows], user.vector
            expected = {
                "user": np.full(ITEMS, user.bias),
                "item": factors.biases[rows] + q[:, :3] @ p[:3],
                "latent": q[:, 3:FACTORS] @ p[3:FACTORS],
            }
            for kind, amount in expected.items():
                np.testing.assert_allclose(added[:, KINDS.index(kind)], amount, atol=1e-5)
            embedding = added[:, KINDS.index("content")] + added[:, len(KINDS) :].sum(axis=1)
            np.testing.assert_allclose(embedding, q[:, FACTORS:] @ p[FACTORS:], atol=1e-4)


def test_records_hold_the_values_that_move_an_item_most(known: RandomScore) -> None:
    assert known.items.values is not None
    rows = np.concatenate(list(known.items.values.portions()))
    names = known.items.values.names
    assert len(names) == len(set(names))
    assert (rows["values"][0] == -1).all()
    assert [names[n] for n in rows["values"][1] if n >= 0] == ["trait: t0"]
    assert (rows["values"][2] >= 0).sum() <= VALUES
    for n in range(3, ITEMS):
        own = [names[number] for number in rows["values"][n] if number >= 0]
        item = known.fields[n]
        parts = {f"trait: {part}" for part in item["trait"].split("|")}
        parts |= {f"category: {part.lower()}" for part in item["category"].split(" > ")}
        assert {name for name in own if not name.startswith("price: ")} == parts
        low, high = next(name for name in own if name.startswith("price: ")).removeprefix("price: ").split(" to ")
        assert float(low) <= float(item["price"]) <= float(high)
        here = known.space.of([item], known.content[n : n + 1])
        moved = [(here - known.space.of([without(item, name)], known.content[n : n + 1]))[0] for name in own]
        lengths = [float(np.linalg.norm(one)) for one in moved]
        np.testing.assert_allclose(lengths, sorted(lengths, reverse=True), rtol=1e-3)
        for place, one in enumerate(moved[:LARGEST]):
            np.testing.assert_allclose(rows["differences"][n, place], one, rtol=2e-3, atol=1e-4)


def test_taking_a_named_value_away_lowers_the_score_by_what_is_stated(known: RandomScore, tmp_path: Path) -> None:
    loaded, seen = opened(known, tmp_path), 0
    for user in range(USERS):
        for row, why in enumerate(every_why(loaded, user)):
            item = known.fields[row]
            for one in why.contributions:
                if one.kind == "value" and one.name is not None:
                    change = known.score(user, row, item) - known.score(user, row, without(item, one.name))
                    assert change == pytest.approx(one.amount, rel=0.01, abs=0.01)
                    seen += 1
    assert seen > 500


def test_the_largest_come_first_and_none_that_lowers_the_score(known: RandomScore, tmp_path: Path) -> None:
    loaded = opened(known, tmp_path)
    kinds = set()
    for user in range(USERS):
        factors = UserFactors(known.users.vectors[user], float(known.users.biases[user]))
        added = amounts(loaded.snapshot, factors, np.arange(ITEMS))
        for row, why in enumerate(every_why(loaded, user)):
            told = [one.amount for one in why.contributions]
            assert told == pytest.approx(sorted(added[row][added[row] > 0], reverse=True)[:NAMED], abs=1e-5)
            kinds |= {one.kind for one in why.contributions}
    assert kinds == {"user", "item", "latent", "content", "value"}


def test_a_value_cites_the_newest_dislike_that_has_it_the_content_the_most_alike_but_none_taken_back(
    known: RandomScore, tmp_path: Path
) -> None:
    loaded = opened(known, tmp_path)
    assert known.items.values is not None
    names = known.items.values.names
    has = [{names[n] for n in own["values"] if n >= 0} for part in known.items.values.portions() for own in part]
    embeddings = known.items.factors.vectors[:, FACTORS:]
    cited = set()

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    def check(user: int, dislikes: list[int]) -> None:
        for row, why in enumerate(every_why(loaded, user)):
            for one in why.contributions:
                past = next((d for d in dislikes if one.kind == "value" and one.name in has[d]), None)
                if one.kind == "content" and dislikes:
                    past = max(dislikes, key=lambda d: cosine(embeddings[row], embeddings[d]))
                expected = (None, None) if past is None else (f"i{past}", known.items.titles[past])
                assert (one.past_item, one.past_title) == expected
                cited.add(one.past_item)

    for user in range(USERS):
        _, dislikes, _ = lists_of(user)
        cited.clear()
        check(user, dislikes)
        assert len(cited) > min(1, len(dislikes))
    assert f"i{dislikes[0]}" in cited
    loaded.undo_dislike(f"u{user}", f"i{dislikes[0]}")
    cited.clear()
    check(user, dislikes[1:])
    assert f"i{dislikes[0]}" not in cited
    assert len(cited) > 1


def test_without_values_the_other_parts_are_named(tmp_path: Path) -> None:
    known = RandomScore(values=False)
    loaded = opened(known, tmp_path)
    kinds = {one.kind for user in range(USERS) for why in every_why(loaded, user) for one in why.contributions}
    assert kinds == {"user", "item", "latent", "content"}
    assert not (tmp_path / loaded.version / "values").exists()
    # Nor are widths needed: then the vectors are one embedding.
    items = replace(known.items, widths=(0, 0))
    write_snapshot(tmp_path, items, known.users)
    loaded.reload()
    for user in range(USERS):
        for row, why in enumerate(every_why(loaded, user)):
            product = float(items.factors.vectors[row] @ known.users.vectors[user])
            amount = {"user": known.users.biases[user], "item": items.factors.biases[row], "content": product}
            expected = sorted(((float(a), kind) for kind, a in amount.items() if a > 0), reverse=True)
            assert [one.kind for one in why.contributions] == [kind for _, kind in expected]
            assert [one.amount for one in why.contributions] == pytest.approx([a for a, _ in expected], abs=1e-5)


def test_widths_and_values_must_fit_the_vectors(known: RandomScore) -> None:
    with pytest.raises(ValueError, match="cannot be split"):
        replace(known.items, widths=(3, 3))
    with pytest.raises(ValueError, match="differ in length"):
        replace(known.items, values=ItemValues(known.space, known.fields[1:], known.content[1:]))


def test_values_that_are_cut_short_are_one_clear_line(known: RandomScore, tmp_path: Path) -> None:
    folder = tmp_path / known.publish(tmp_path) / "values"
    for name in ("records.npy", "names.parquet"):
        whole = (folder / name).read_bytes()
        for wrong in (whole[:-1], b""):
            (folder / name).write_bytes(wrong)
            with pytest.raises(ConrecError, match=name):
                CoNRecFilter.load(tmp_path)
        (folder / name).write_bytes(whole)
    CoNRecFilter.load(tmp_path)


@pytest.fixture(scope="module", params=[True, False], ids=["ratings", "exposures"])
def log_view(request: pytest.FixtureRequest) -> LogView:
    return small_log_view(rated=request.param)


def test_of_a_learned_score_a_named_value_is_what_the_score_would_lose(
    log_view: LogView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the log to the reason: the history score is learned, published, and asked again with the value left out."""
    from conrec.score.backtest import backtests

    monkeypatch.setattr("conrec.score.backtest.FIRST_HORIZONS", 1)
    windows = backtests(log_view, split_of(log_view), CONFIG)
    history = HistoryScore.fit(log_view, np.arange(len(log_view.items)), windows, 0)
    score, instances = history.at(log_view, CUTS[1]), replay_of(log_view, CUTS[1:2]).instances
    vectors, biases = score.user_factors(instances)
    none, activity = np.zeros((len(instances), 0), np.int32), np.zeros(len(instances), np.int32)
    users = Users(instances.users.tolist(), none, vectors, biases, activity)
    items = log_view.items
    contents = SnapshotItems(
        items.ids,
        items.titles,
        items.categories,
        log_view.catalog.codes,
        score.item_factors(),
        score.widths,
        ItemValues(history.space, log_view.fields, log_view.content),
    )
    write_snapshot(tmp_path, contents, users)
    loaded = CoNRecFilter.load(tmp_path, threshold=-1000.0)
    shapes: dict[str, list[Contribution]] = {}
    for user, vector in zip(users.ids, vectors):
        found = loaded.filter(user, items.ids)
        for row, why in enumerate(found.why):
            assert why is not None
            for one in why.contributions:
                if one.kind != "value" or one.name is None:
                    continue
                field = one.name.split(": ")[0]
                left = {name: text for name, text in log_view.fields[row].items() if name != field}  # it has one value
                here, there = (
                    history.space.of([f], log_view.content[row : row + 1]) for f in (log_view.fields[row], left)
                )
                embedding = vector[sum(contents.widths) :]
                assert ((here - there) @ embedding).item() == pytest.approx(one.amount, rel=0.01, abs=0.003)
                shapes.setdefault(one.name, []).append(one)
    # Every user of this log dislikes one shape; that is what reasons name most.
    assert max(shapes, key=lambda name: sum(one.amount for one in shapes[name])).startswith("shape: ")
