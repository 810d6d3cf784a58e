"""A Taobao-like platform with a known truth.

Users have nuanced dislikes (rules such as 'bulky, among all footwear'), a recommender learns from their
positives what to show, drops what was disliked and damps its category. Every exposure is logged. Because both
the rules and the recommender's state are known, so is the best list that anybody could predict: the oracle.

The platform knows every item's attributes. What systems see of an item is what a shop says: title, picture, category.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from conrec.config import SimulateConfig
from conrec.data.schema import EVENTS, ITEMS, Accounting, Log
from conrec.progress import track
from conrec.simulate.catalogue import LEAVES, Catalogue, make_catalogue
from conrec.simulate.people import make_people
from conrec.simulate.pictures import draw_picture
from conrec.simulate.platform import Happened, Platform

START = np.datetime64("2026-03-02T00:00:00.000000", "us")
"""Midnight (UTC) at which every simulated log begins; a Monday."""
DAY = np.timedelta64(1, "D")
PICTURE_SIZE = 96
"""Width and height of a product picture in pixels."""


@dataclass(frozen=True)
class Simulation:
    """A log and the truth behind it."""

    log: Log
    interests: pa.Table
    """user_id, scope, attribute, value: the true rules, a user's strongest first (Catalogue.matching reads them)."""
    platform: Platform
    true_fields: pa.Table
    """item_id, category and attributes of every item: what the rules are about, whatever the catalogue says."""

    def shown_and_disliked(self, user_ids: list[str], cutoff: np.datetime64, horizon_days: int) -> np.ndarray:
        """float64 [users, items] in the order of log.items: see Platform.shown_and_disliked.

        Raises ValueError where the cutoff is no midnight of the log or a user is unknown.
        """
        return self.platform.shown_and_disliked(self._users(user_ids), _day(cutoff, self.platform), horizon_days)

    def oracle(self, user_ids: list[str], cutoffs: np.ndarray, horizon_days: int, k: int) -> list[list[str]]:
        """For each (user, cutoff) the k items with the highest true probability of being shown and disliked in
        [cutoff, cutoff + horizon), best first; fewer where fewer are on offer.

        On offer: listed before the cutoff, neither disliked nor bought by the user (what no system may list).
        `cutoffs` is datetime64[us] [len(user_ids)], midnights UTC of the log. Raises ValueError as above.
        """
        cutoffs = np.asarray(cutoffs, dtype="datetime64[us]")
        answer: list[list[str]] = [[] for _ in user_ids]
        for cutoff in np.unique(cutoffs):
            own = np.flatnonzero(cutoffs == cutoff)
            for here in np.split(own, range(1000, len(own), 1000)):
                chance = self.shown_and_disliked([user_ids[n] for n in here], cutoff, horizon_days)
                best = np.argsort(-chance, axis=1, kind="stable")[:, :k]
                for n, order, values in zip(here, best, np.take_along_axis(chance, best, axis=1)):
                    answer[n] = [self.platform.catalogue.ids[item] for item in order[values > 0]]
        return answer

    def dislike_chances(self, user_ids: list[str], items: list[list[str]]) -> list[list[float]]:
        """The true P(disliked for interest | shown) of some items of each user, in their order.

        Raises ValueError for an unknown user and KeyError for an unknown item.
        """
        column = {item: n for n, item in enumerate(self.platform.catalogue.ids)}
        return [
            self.platform.dislike_chance(row, np.array([column[item] for item in asked], dtype=np.int64)).tolist()
            for row, asked in zip(self._users(user_ids), items, strict=True)
        ]

    def _users(self, user_ids: list[str]) -> np.ndarray:
        row = {user: n for n, user in enumerate(self.platform.people.ids)}
        unknown = [user for user in user_ids if user not in row]
        if unknown:
            raise ValueError(f"user {unknown[0]!r} is not in the simulation")
        return np.array([row[user] for user in user_ids], dtype=np.int64)


def simulate(config: SimulateConfig, image_folder: Path | None) -> Simulation:
    """Run the platform; the same config gives the same log, bit by bit.

    Product pictures go to `image_folder` as PNG files named by item id (None: no pictures, which changes
    nothing else); the log's paths are relative to the folder above it, as a run's `prepare` folder wants them.
    Memory is about 10 bytes times users times items, plus 320 bytes times users times days.
    """
    platform, for_days = make_platform(config)
    numbers = track(range(config.days), "simulate days")
    events = pa.concat_tables([day_table(day, platform.run_day(day, for_days), platform) for day in numbers])
    events = events.combine_chunks()
    items = items_table(platform.catalogue, draw_pictures(platform.catalogue, config, image_folder))
    fields = items.select(["item_id", "category", "attributes"])
    if not config.attribute_columns:
        column = ITEMS.field("attributes")
        items = items.set_column(ITEMS.get_field_index(column.name), column, pa.nulls(len(items), column.type))
    n, without = items.num_rows, items["image"].null_count
    images = Accounting(n, n - without, +Counter({"no picture": without}))
    accounting = Accounting(events.num_rows, events.num_rows, items=Accounting(n, n), images=images)
    return Simulation(Log(items, events, accounting), platform.people.interests(), platform, fields)


def make_platform(config: SimulateConfig) -> tuple[Platform, np.random.Generator]:
    """The platform before its first day, and what its days are drawn with."""
    for_items, for_people, for_days, for_standing = np.random.default_rng(config.seed).spawn(4)
    catalogue = make_catalogue(config.items, config.days, for_items)
    people = make_people(config.users, config.days, config.dislike_if_matched, catalogue, for_people)
    return Platform(config, catalogue, people, for_standing.dirichlet(np.full(len(LEAVES), 8.0))), for_days


def _day(cutoff: np.datetime64, platform: Platform) -> int:
    day, rest = divmod(cutoff - START, DAY)
    if rest or not 0 <= int(day) < len(platform.states):
        raise ValueError(f"{cutoff}: the truth is kept for the midnights of the log's {len(platform.states)} days only")
    return int(day)


def day_table(day: int, happened: Happened, platform: Platform) -> pa.Table:
    """A day as EVENTS: exposures and what followed seconds later, all at different microseconds."""
    parts = [
        ("exposure", np.ones(len(happened.users), dtype=bool), 0.0),
        ("dislike", happened.disliked, 3.0),
        ("click", happened.clicked, 2.0),
        ("favorite", happened.favorite, 25.0),
        ("cart", happened.cart, 40.0),
        ("purchase", happened.purchase, 300.0),
    ]
    source = np.concatenate([np.flatnonzero(mask) for _, mask, _ in parts])
    kind = np.repeat([name for name, _, _ in parts], [mask.sum() for _, mask, _ in parts])
    delay = np.repeat([seconds for _, _, seconds in parts], [mask.sum() for _, mask, _ in parts])
    moment = ((happened.seconds[source] + delay) * 1e6).astype(np.int64)
    order = np.argsort(moment, kind="stable")
    # Strictly increasing: whoever would share a microsecond moves on by one.
    step = np.arange(len(moment))
    moment = np.maximum.accumulate(moment[order] - step) + step
    source, kind = source[order], kind[order]
    reasons = np.where(kind == "dislike", happened.reasons[source], None)
    times = (START + day * DAY + moment.astype("timedelta64[us]")).astype("datetime64[us]")
    users = np.array(platform.people.ids, dtype=object)[happened.users[source]]
    items = np.array(platform.catalogue.ids, dtype=object)[happened.items[source]]
    values = pa.nulls(len(times), pa.float64())
    return pa.table([users, items, times, kind.astype(object), reasons, values], schema=EVENTS)


def items_table(catalogue: Catalogue, images: list[str | None]) -> pa.Table:
    """The catalogue as ITEMS; `first_seen` is the moment of listing."""
    listed = START + (catalogue.listed * 86_400e6).astype(np.int64).astype("timedelta64[us]")
    categories = [LEAVES[n] for n in catalogue.leaf]
    attributes = [list(own.items()) for own in catalogue.attributes]
    none = [None] * len(catalogue)
    columns = [catalogue.ids, catalogue.titles, images, none, categories, attributes, listed, none]
    return pa.table(columns, schema=ITEMS)


def draw_pictures(catalogue: Catalogue, config: SimulateConfig, folder: Path | None) -> list[str | None]:
    """Draw a picture an item; their paths as seen from the folder above, so that both may be moved together."""
    if folder is None:
        return [None] * len(catalogue)
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[str | None] = []
    for n in track(range(len(catalogue)), "draw product pictures"):
        path = folder / f"{catalogue.ids[n]}.png"
        rng = np.random.default_rng([config.seed, n])
        draw_picture(LEAVES[catalogue.leaf[n]], catalogue.attributes[n], PICTURE_SIZE, rng).save(path)
        paths.append(f"{folder.name}/{path.name}")
    return paths
