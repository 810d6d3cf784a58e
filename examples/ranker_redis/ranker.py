"""A ranker with candidates and a relevance of its own, and CoNRec's users in Redis. README.md tells more.

    python examples/ranker_redis/ranker.py FOLDER

answers requests, a JSON object a line on standard input, each with one line on standard output.
"""

import logging
import math
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from conrec.errors import ConrecError
from conrec.filter.filter import CoNRecFilter

DAY = 86_400.0
FADES = 0.5
"""By how much a post is less relevant a day later, in log-odds."""


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """What a page of ours asks for."""

    user: str
    want: Annotated[int, msgspec.Meta(ge=1, le=500)] = 10
    mode: Literal["drop", "demote"] = "drop"
    """drop: what is over the threshold goes, and other posts take its place. demote: all stay, in another order."""


class Ranker:
    """Posts, the most relevant first, without what the reader dislikes."""

    def __init__(self, folder: Path) -> None:
        self.filter = CoNRecFilter.load(folder / "redis")  # its users are where CONREC_REDIS says
        self.filter.watch()  # what the nightly job publishes is in use a second later
        self.items, self.relevance = relevant(folder)
        self.send = 2.0  # candidates for each place, until the snapshot says how many it takes

    def rank(self, asked: Request) -> dict[str, Any]:
        """What to show, best first. Where the filter cannot be asked, that is the ranker's own list."""
        send = math.ceil(asked.want * self.send)
        items, relevance = self.items[:send], self.relevance[:send]
        try:
            if asked.mode == "demote":
                decision = self.filter.filter(asked.user, items, want=asked.want, mode="demote", relevance=relevance)
            else:
                decision = self.filter.filter(asked.user, items, want=asked.want, replace=True)
        except ConrecError:
            logging.exception("unfiltered")
            return {"show": items[: asked.want], "unfiltered": True}
        self.send = decision.send / asked.want if decision.send else self.send
        return {
            "show": decision.kept,
            "dropped": decision.dropped,
            "filled": decision.filled,
            "short": decision.short,
            "snapshot": decision.version,
        }


def relevant(folder: Path) -> tuple[list[str], list[float]]:
    """All posts with their relevance, the highest first: the log-odds of a like where they are shown, less their age.

    In log-odds, since that is what demoting weighs against the log-odds of a dislike.
    """
    shown: Counter[str] = Counter()
    liked: Counter[str] = Counter()
    for line in (folder / "events.jsonl").read_bytes().splitlines():
        event = msgspec.json.decode(line)
        shown[event["item_id"]] += event["kind"] == "exposure"
        liked[event["item_id"]] += event["kind"] == "favorite"
    posts = [msgspec.json.decode(line) for line in (folder / "posts.jsonl").read_bytes().splitlines()]
    made = np.array([post["first_seen"].rstrip("Z") for post in posts], "datetime64[s]").astype(float)
    likes, views = (np.array([counts[post["item_id"]] for post in posts]) for counts in (liked, shown))
    relevance = np.log((likes + 1) / (np.maximum(views - likes, 0) + 3)) - FADES * (made.max() - made) / DAY
    order = np.argsort(-relevance, kind="stable")
    return [posts[n]["item_id"] for n in order], relevance[order].tolist()


def main(folder: Path) -> None:
    ranker = Ranker(folder)
    for line in sys.stdin:
        try:
            answer = ranker.rank(msgspec.json.decode(line, type=Request))
        except msgspec.MsgspecError as error:
            answer = {"error": str(error)}
        print(msgspec.json.encode(answer).decode(), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
