"""The simulated platform: its log is a valid log, its truth is true, its recommender does what it says."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from conrec.config import SimulateConfig, load_recipe
from conrec.data.schema import OTHER_REASONS, REASONS, check_events, check_items
from conrec.simulate import START, Simulation, simulate
from conrec.simulate.catalogue import ATTRIBUTES, LEAVES, MATERIALS, STORES
from conrec.simulate.pictures import LEAF_STROKES, TEXTURE, draw_picture
from conrec.simulate.platform import NOISE

CONFIG = SimulateConfig(users=700, items=700, days=40, seed=3)
DAY_US = 86_400_000_000


@dataclasses.dataclass(frozen=True)
class Rows:
    """The log as arrays: users and items as row numbers, days as float."""

    users: np.ndarray
    items: np.ndarray
    days: np.ndarray
    kinds: np.ndarray
    reasons: np.ndarray

    def take(self, mask: np.ndarray) -> Rows:
        return Rows(*(getattr(self, field.name)[mask] for field in dataclasses.fields(self)))

    def of(self, *kinds: str) -> Rows:
        return self.take(np.isin(self.kinds, kinds))

    def dislikes_that_count(self) -> Rows:
        """Those that cleaning keeps: for interest, or without a reason."""
        return self.take((self.kinds == "dislike") & ~np.isin(self.reasons, OTHER_REASONS))


def rows_of(simulation: Simulation) -> Rows:
    events = simulation.log.events
    user = {name: n for n, name in enumerate(sorted(set(simulation.platform.people.ids)))}
    item = {name: n for n, name in enumerate(simulation.log.items["item_id"].to_pylist())}
    return Rows(
        users=np.array([user[name] for name in events["user_id"].to_pylist()]),
        items=np.array([item[name] for name in events["item_id"].to_pylist()]),
        days=(events["time"].cast("int64").to_numpy() - START.astype(np.int64)) / DAY_US,
        kinds=np.array(events["kind"].to_pylist()),
        reasons=np.array([reason or "" for reason in events["reason"].to_pylist()]),
    )


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(CONFIG, None)


@pytest.fixture(scope="module")
def rows(simulation: Simulation) -> Rows:
    return rows_of(simulation)


def matched(simulation: Simulation) -> dict[str, np.ndarray]:
    """attribute -> bool [users, items]: the true interests, applied to the true items by hand."""
    items = simulation.true_fields.to_pylist()
    attributes = [dict(item["attributes"]) for item in items]
    user = {name: n for n, name in enumerate(simulation.platform.people.ids)}
    masks: dict[tuple[str, str, str], np.ndarray] = {}
    result: dict[str, np.ndarray] = {}
    for rule in simulation.interests.to_pylist():
        scope, name, value = key = rule["scope"], rule["attribute"], rule["value"]
        if key not in masks:
            masks[key] = np.array(
                [
                    scope in ("*", item["category"].split("/")[0], item["category"])
                    and (item["category"] if name == "category" else own.get(name)) == value
                    for item, own in zip(items, attributes)
                ]
            )
        mask = result.setdefault(name, np.zeros((len(user), len(items)), dtype=bool))
        mask[user[rule["user_id"]]] |= masks[key]
    return result


# The log --------------------------------------------------------------------------------------------------


def test_the_log_is_a_valid_log(simulation: Simulation, rows: Rows) -> None:
    check_items(simulation.log.items, "items")
    check_events(simulation.log.events, "events")
    account = simulation.log.accounting.check()
    assert account.read == account.kept == simulation.log.events.num_rows
    assert account.items is not None
    assert account.items.kept == CONFIG.items
    assert (np.diff(simulation.log.events["time"].cast("int64").to_numpy()) > 0).all()
    assert rows.days.min() >= 0
    assert rows.days.max() < CONFIG.days
    assert set(simulation.log.items["category"].to_pylist()) <= set(LEAVES)
    assert simulation.log.items["image"].null_count == CONFIG.items


def test_nothing_is_shown_before_it_is_listed(simulation: Simulation, rows: Rows) -> None:
    listed = (simulation.log.items["first_seen"].cast("int64").to_numpy() - START.astype(np.int64)) / DAY_US
    assert (rows.days > listed[rows.items]).all()


def test_every_event_belongs_to_an_exposure_of_that_day(rows: Rows) -> None:
    keys = (rows.users * CONFIG.items + rows.items) * CONFIG.days + rows.days.astype(int)
    shown = keys[rows.kinds == "exposure"]
    assert len(np.unique(shown)) == len(shown), "an item is shown once a day at most"
    first = dict(zip(shown.tolist(), rows.days[rows.kinds == "exposure"].tolist()))
    for kind in ("dislike", "click", "favorite", "cart", "purchase"):
        some = rows.kinds == kind
        assert all(first[key] < day for key, day in zip(keys[some].tolist(), rows.days[some].tolist()))


def test_positives_far_outnumber_dislikes(rows: Rows) -> None:
    count = Counter(rows.kinds.tolist())
    assert count["click"] >= 5 * count["dislike"]
    assert count["click"] > count["cart"] > count["purchase"] > 0
    assert count["click"] > count["favorite"] > 0
    assert 0.1 < count["click"] / count["exposure"] < 0.2


def test_all_eight_reasons_occur_and_some_dislikes_have_none(rows: Rows) -> None:
    reasons = Counter(rows.of("dislike").reasons.tolist())
    assert set(REASONS) | {""} == set(reasons)
    other = sum(reasons[name] for name in OTHER_REASONS)
    assert other < 0.3 * sum(reasons.values())


def test_items_and_users_arrive_all_the_time(simulation: Simulation, rows: Rows) -> None:
    listed = (simulation.log.items["first_seen"].cast("int64").to_numpy() - START.astype(np.int64)) / DAY_US
    first_day = np.full(CONFIG.users, np.inf)
    np.minimum.at(first_day, rows.users, rows.days)
    for week in range(0, CONFIG.days - 7, 7):
        assert ((listed >= week) & (listed < week + 7)).any()
        assert ((first_day >= week) & (first_day < week + 7)).any()


def test_the_same_config_gives_the_same_bits(tmp_path: Path) -> None:
    config = SimulateConfig(users=60, items=80, days=8, seed=5)
    one, two = simulate(config, tmp_path / "one"), simulate(config, tmp_path / "two")
    assert one.log.events.equals(two.log.events)
    assert one.interests.equals(two.interests)
    assert simulate(config, None).log.events.equals(one.log.events), "pictures change nothing else"
    ids, lefts, rights = one.log.items["item_id"], one.log.items["image"], two.log.items["image"]
    for item, left, right in zip(ids.to_pylist(), lefts.to_pylist(), rights.to_pylist()):
        assert (left, right) == (f"one/{item}.png", f"two/{item}.png")
        assert (tmp_path / left).read_bytes() == (tmp_path / right).read_bytes()
        with Image.open(tmp_path / left) as drawn:
            assert drawn.size == (96, 96)
    other = simulate(dataclasses.replace(config, seed=6), None)
    assert not other.log.events.equals(one.log.events)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 12), st.integers(1, 30), st.integers(1, 5), st.integers(0, 99))
def test_the_smallest_platforms_work(users: int, items: int, days: int, seed: int) -> None:
    simulation = simulate(SimulateConfig(users=users, items=items, days=days, seed=seed), None)
    check_events(simulation.log.events, "events")
    check_items(simulation.log.items, "items")
    ids = simulation.platform.people.ids
    last = np.full(users, START + (days - 1) * np.timedelta64(1, "D"))
    assert all(len(best) <= min(5, items) for best in simulation.oracle(ids, last, 7, 5))


# The truth ------------------------------------------------------------------------------------------------


def test_published_rules_decide_what_is_disliked(simulation: Simulation, rows: Rows) -> None:
    hates = np.logical_or.reduce(list(matched(simulation).values()))
    pairs = np.zeros((CONFIG.users, CONFIG.items), dtype=bool)
    disliked = rows.dislikes_that_count()
    pairs[disliked.users, disliked.items] = True
    shown = rows.of("exposure")
    # A pair is shown until it is disliked, so dislikes over exposures estimate the chance of one exposure.
    match = hates[shown.users, shown.items]
    rate = (hates & pairs).sum() / match.sum()
    noise = (~hates & pairs).sum() / (~match).sum()
    assert rate == pytest.approx(CONFIG.dislike_if_matched, rel=0.08)
    assert noise == pytest.approx(NOISE, rel=0.25)


def test_reasons_come_from_the_matching_rule(simulation: Simulation, rows: Rows) -> None:
    masks = matched(simulation)
    for reason, attribute in (
        ("not_this_category", "category"),
        ("not_this_store", "store"),
        ("image_uncomfortable", "image"),
    ):
        some = rows.take(rows.reasons == reason)
        assert len(some.users) > 10
        assert masks[attribute][some.users, some.items].all()


def test_reasons_about_the_platform_come_from_it(simulation: Simulation, rows: Rows) -> None:
    bought = rows.of("purchase")
    first = np.full((CONFIG.users, CONFIG.items), np.inf)
    np.minimum.at(first, (bought.users, bought.items), bought.days)
    again = rows.take(rows.reasons == "seen_or_bought")
    assert (first[again.users, again.items] < again.days).all()
    flags = simulation.platform.catalogue.flags
    for column, reason in enumerate(("ai_generated_image", "bait_price", "counterfeit")):
        assert flags[rows.items[rows.reasons == reason], column].all()


def test_what_was_disliked_is_never_shown_again(rows: Rows) -> None:
    disliked = rows.of("dislike")
    gone = np.full((CONFIG.users, CONFIG.items), np.inf)
    gone[disliked.users, disliked.items] = disliked.days
    later = rows.take(rows.days > gone[rows.users, rows.items])
    assert len(later.users) == 0


@pytest.mark.slow
def test_damping_keeps_dislikes_from_repeating_in_a_category() -> None:
    def repeats(damping: float) -> float:
        """Share of the dislikes whose user disliked something of the same leaf in the three days before."""
        simulation = simulate(dataclasses.replace(CONFIG, damping=damping), None)
        disliked = rows_of(simulation).dislikes_that_count()
        leaf = simulation.platform.catalogue.leaf[disliked.items]
        last: dict[tuple[int, int], float] = {}
        found = 0
        for user, category, day in zip(disliked.users.tolist(), leaf.tolist(), disliked.days.tolist()):
            found += day - last.get((user, category), -9.0) < 3
            last[user, category] = day
        return found / len(leaf)

    assert repeats(0.3) < 0.6 * repeats(1.0)


def test_the_recommender_follows_the_positives(simulation: Simulation, rows: Rows) -> None:
    leaf = simulation.platform.catalogue.leaf
    liked = np.zeros((CONFIG.users, len(LEAVES)))
    clicks = rows.take((rows.kinds == "click") & (rows.days < 30))
    np.add.at(liked, (clicks.users, leaf[clicks.items]), np.exp((clicks.days - 30) / 7))
    active = liked.sum(axis=1) > 3
    top = np.argmax(liked, axis=1)
    shown = rows.take((rows.kinds == "exposure") & (rows.days >= 30) & (rows.days < 33))
    shown = shown.take(active[shown.users])
    assert (leaf[shown.items] == top[shown.users]).mean() > 5 / len(LEAVES)


@pytest.mark.parametrize("horizon", [1, 7])
def test_predicted_probabilities_are_the_observed_frequencies(simulation: Simulation, rows: Rows, horizon: int) -> None:
    day = np.full((CONFIG.users, CONFIG.items), np.inf)
    disliked = rows.dislikes_that_count()
    day[disliked.users, disliked.items] = disliked.days
    predicted, observed = [], []
    for cutoff in range(12, CONFIG.days - 6, 3 if horizon == 1 else 7):
        when = START + cutoff * np.timedelta64(1, "D")
        chance = simulation.shown_and_disliked(simulation.platform.people.ids, when, horizon)
        possible = chance > 0
        predicted.append(chance[possible])
        observed.append(((day >= cutoff) & (day < cutoff + horizon))[possible])
    chance, hit = np.concatenate(predicted), np.concatenate(observed)
    assert chance.min() > 0
    assert chance.max() < 1
    order = np.argsort(chance)
    mass = np.cumsum(chance[order])
    for part in np.array_split(order, np.searchsorted(mass, mass[-1] * np.arange(1, 8) / 8)):
        expected, spread = chance[part].sum(), np.sqrt(chance[part].sum())
        # Weeks are carried on by expected states; users' dislikes in one week are not independent.
        tolerance = 4 * spread + (0.02 if horizon == 1 else 0.06) * expected
        assert abs(hit[part].sum() - expected) < tolerance


def test_the_oracle_is_the_top_of_the_truth(simulation: Simulation, rows: Rows) -> None:
    ids = simulation.platform.people.ids
    cutoff_day, k = 25, 20
    cutoff = START + cutoff_day * np.timedelta64(1, "D")
    present = simulation.platform.people.joined < cutoff_day
    chosen = [n for n in np.flatnonzero(present) if n % 7 == 0]
    users = [ids[n] for n in chosen]
    best = simulation.oracle(users, np.full(len(users), cutoff), 7, k)
    chance = simulation.shown_and_disliked(users, cutoff, 7)
    item = {name: n for n, name in enumerate(simulation.log.items["item_id"].to_pylist())}
    listed = simulation.log.items["first_seen"].cast("int64").to_numpy() < cutoff.astype(np.int64)
    gone = np.zeros((CONFIG.users, CONFIG.items), dtype=bool)
    past = rows.take((rows.days < cutoff_day) & np.isin(rows.kinds, ("dislike", "purchase")))
    gone[past.users, past.items] = True
    for n, names in zip(range(len(users)), best):
        numbers = np.array([item[name] for name in names])
        assert len(set(names)) == len(names) == k
        assert listed[numbers].all()
        assert not gone[chosen[n], numbers].any()
        np.testing.assert_allclose(chance[n, numbers], np.sort(chance[n])[::-1][:k])


@pytest.mark.slow
def test_true_chances_are_the_shares_disliked_of_what_was_shown(simulation: Simulation, rows: Rows) -> None:
    ids, names = simulation.platform.people.ids, simulation.platform.catalogue.ids
    shown, disliked = rows.of("exposure"), rows.dislikes_that_count()
    asked = [[names[item]] for item in shown.items]
    chances = np.concatenate(simulation.dislike_chances([ids[user] for user in shown.users], asked))
    likely = chances > 0.1
    pairs = set(zip(shown.users[likely].tolist(), shown.items[likely].tolist()))
    hits = np.array([pair in pairs for pair in zip(disliked.users.tolist(), disliked.items.tolist())])
    for expected, observed in ((chances[likely].sum(), hits.sum()), (chances[~likely].sum(), (~hits).sum())):
        assert abs(observed - expected) < 4 * np.sqrt(expected)
    with pytest.raises(ValueError, match="nobody"):
        simulation.dislike_chances(["nobody"], [[]])


def test_the_oracle_answers_each_cut_for_itself(simulation: Simulation) -> None:
    ids = simulation.platform.people.ids[:6]
    days = np.array([10, 20, 10, 30, 20, 39])
    cutoffs = START + days * np.timedelta64(1, "D")
    together = simulation.oracle(ids, cutoffs, 7, 5)
    assert together == [simulation.oracle([u], np.array([c]), 7, 5)[0] for u, c in zip(ids, cutoffs)]


def test_the_oracle_is_far_ahead_of_popularity_and_short_of_certainty(simulation: Simulation, rows: Rows) -> None:
    disliked = rows.dislikes_that_count()
    cutoff = 28
    future = disliked.take((disliked.days >= cutoff) & (disliked.days < cutoff + 7))
    users = np.unique(future.users)
    ids = [simulation.platform.people.ids[n] for n in users]
    names = simulation.platform.catalogue.ids
    truth = {n: {names[i] for i in future.items[future.users == n]} for n in users}
    when = np.full(len(ids), START + cutoff * np.timedelta64(1, "D"))
    oracle = np.mean([bool(truth[n] & set(b)) for n, b in zip(users, simulation.oracle(ids, when, 7, 20))])
    before = disliked.take((disliked.days < cutoff) & (disliked.days >= cutoff - 14))
    popular = {names[i] for i in np.argsort(-np.bincount(before.items, minlength=len(names)))[:20]}
    assert 0.4 < oracle < 0.95
    assert np.mean([bool(truth[n] & popular) for n in users]) < oracle / 3


def test_only_midnights_and_known_users_have_a_truth(simulation: Simulation) -> None:
    user = simulation.platform.people.ids[0]
    with pytest.raises(ValueError, match="midnights"):
        simulation.oracle([user], np.array([START + np.timedelta64(1, "h")]), 7, 20)
    with pytest.raises(ValueError, match="midnights"):
        simulation.oracle([user], np.array([START + np.timedelta64(CONFIG.days, "D")]), 7, 20)
    with pytest.raises(ValueError, match="nobody"):
        simulation.oracle(["nobody"], np.array([START]), 7, 20)


# Titles and pictures --------------------------------------------------------------------------------------


def test_the_catalogue_says_what_a_shop_says_unless_asked_for_the_attributes(simulation: Simulation) -> None:
    told = simulate(dataclasses.replace(CONFIG, attribute_columns=True), None).log
    assert told.events.equals(simulation.log.events)
    assert simulation.log.items["attributes"].null_count == len(simulation.log.items)
    assert told.items.drop_columns("attributes").equals(simulation.log.items.drop_columns("attributes"))
    assert told.items["attributes"].to_pylist() == simulation.true_fields["attributes"].to_pylist()


def test_titles_tell_attributes_through_sellers_noise(simulation: Simulation) -> None:
    titles = [title.lower() for title in simulation.log.items["title"].to_pylist()]
    attributes = simulation.platform.catalogue.attributes
    told = np.mean([own["colour"] in title for own, title in zip(attributes, titles)])
    assert 0.7 < told < 0.97
    assert any("shipping" in title for title in titles)
    assert any("🔥" in title for title in titles)
    assert any(max(Counter(title.split()).values()) > 1 for title in titles)
    assert not any("unsettling" in title or "cluttered" in title for title in titles)


BASE = {
    "shape": "classic",
    "material": "canvas",
    "colour": "red",
    "pattern": "plain",
    "style": "retro",
    "store": STORES[3],
    "image": "clean",
    "connection": "wireless",
}


def picture(leaf: str = "audio/headphones", **changes: str) -> Image.Image:
    return draw_picture(leaf, {**BASE, **changes}, 64, np.random.default_rng(1))


def test_pictures_show_every_attribute() -> None:
    assert set(LEAF_STROKES) == set(LEAVES)
    known = {material for group in TEXTURE.values() for material in group}
    assert {material for group in MATERIALS.values() for material in group} == known
    shown = {"store": STORES, "material": ("leather", "canvas", "wood", "metal")}
    for attribute in ("shape", "colour", "pattern", "image", "connection"):
        shown[attribute] = ATTRIBUTES[attribute]
    for attribute, values in shown.items():
        seen = {picture(**{attribute: value}).tobytes() for value in values}
        assert len(seen) == len(values), attribute
    assert len({picture(leaf).tobytes() for leaf in LEAVES}) == len(LEAVES)


def test_bulky_things_look_bigger_than_slim_ones() -> None:
    """What differs from the empty studio, for every leaf, counted in pixels of the item's own tones."""

    def extent(leaf: str, shape: str) -> int:
        # Two colours of the same item differ exactly where the item is.
        change = ImageChops.difference(picture(leaf, shape=shape), picture(leaf, shape=shape, colour="teal"))
        return int((np.asarray(change).max(axis=2) > 8).sum())

    for leaf in LEAVES:
        assert extent(leaf, "slim") < extent(leaf, "classic") < extent(leaf, "bulky"), leaf


def test_the_demo_recipe_simulates() -> None:
    recipe = load_recipe(Path(__file__).parents[2] / "recipes" / "demo.toml")
    assert recipe.name == "demo"
    assert recipe.data.adapter == "simulated"
    assert recipe.simulate == SimulateConfig()
