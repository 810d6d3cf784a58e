"""A small log to try the examples with: posts of a hundred days, and who saw, liked and disliked them.

    python examples/sample_log.py FOLDER

writes FOLDER/posts.jsonl and FOLDER/events.jsonl in the columns of docs/data.md; the last event is of yesterday (UTC).
Half of the people do not want to read about coins, the others nothing about football.
"""

import json
import sys
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import numpy as np

DAYS, POSTS, USERS = 100, 6, 150
TOPICS = {
    "coins": ("bitcoin", "wallet", "token", "market", "mining", "ledger"),
    "football": ("goal", "striker", "league", "penalty", "derby", "keeper"),
    "birds": ("heron", "nest", "binoculars", "warbler", "marsh", "feather"),
    "bread": ("sourdough", "crust", "oven", "flour", "starter", "rye"),
}
UNWANTED = ("coins", "football")


def main(folder: Path) -> None:
    """Write the two files."""
    rng = np.random.default_rng(0)
    first = datetime.combine(datetime.now(UTC).date() - timedelta(days=DAYS), time(), UTC)
    topics = rng.choice(list(TOPICS), DAYS * POSTS)
    listed = np.sort(rng.random(DAYS * POSTS)) * (DAYS - 0.05)
    posts, events = [], []
    for n, (topic, day) in enumerate(zip(topics, listed)):
        words = " ".join(rng.choice(TOPICS[topic], 3, replace=False))
        uri = f"at://did:example:{topic}{n % 5}/app.bsky.feed.post/{n:04d}"
        posts.append({"item_id": uri, "title": f"About {topic}: {words}", "first_seen": moment(first, day)})
        readers = rng.choice(USERS, 20, replace=False)
        for user, seen in zip(readers, day + rng.random(20) * min(2.0, DAYS - day)):
            told = {"user_id": f"did:example:user{user}", "item_id": uri}
            events.append({**told, "time": moment(first, seen), "kind": "exposure"})
            disliked, liked = (0.6, 0.02) if topic == UNWANTED[user % 2] else (0.01, 0.4)
            if (drawn := rng.random()) < disliked + liked:
                kind = "dislike" if drawn < disliked else "favorite"
                events.append({**told, "time": moment(first, seen + 1e-4), "kind": kind})
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("posts", posts), ("events", events)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def moment(first: datetime, days: float) -> str:
    return f"{first + timedelta(days=float(days)):%Y-%m-%dT%H:%M:%S}Z"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
