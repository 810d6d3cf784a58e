"""What is on a page of the feed, and what becomes of the readers' interactions."""

import hashlib
import logging
import math
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec
from day_log import DayLog, Event
from service_token import Refused

from conrec.errors import ConrecError
from conrec.filter.feedback import Entry
from conrec.filter.filter import CoNRecFilter
from conrec.filter.guardrails import Guardrails

DEFS = "app.bsky.feed.defs#"
KINDS = {
    "requestLess": ("dislike",),
    "requestMore": ("undo", "favorite"),  # the undo is of a requestLess by mistake
    "interactionSeen": ("exposure",),
    **dict.fromkeys(("interactionLike", "interactionRepost", "interactionShare"), ("favorite",)),
    # People also answer and quote what they do not like; but it caught their eye.
    **dict.fromkeys(("interactionReply", "interactionQuote", "clickthroughItem", "clickthroughEmbed"), ("click",)),
}
"""The event of an interaction -> the kinds of event that CoNRec knows. All others are passed over."""


class Interaction(msgspec.Struct, rename="camel"):
    """`app.bsky.feed.defs#interaction`."""

    item: str = ""
    event: str = ""
    feed_context: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    req_id: Annotated[str, msgspec.Meta(max_length=100)] = ""


class Feed:
    """The newest posts, without what the reader dislikes."""

    def __init__(self, folder: Path) -> None:
        # A feed may end: of its last posts all may be unwanted, and the default would keep one.
        self.filter = CoNRecFilter.load(folder / "run" / "snapshots", Guardrails(min_keep=0))
        self.filter.watch()  # what the nightly job publishes is in use a second later
        self.folder, self.log = folder, DayLog(folder / "log")
        self.send = 2.0  # candidates for each place, until the snapshot says how many it takes

    def newest(self) -> list[tuple[str, str]]:
        """The ranker: when each post was made, and its URI, newest first. Yours asks an index."""
        posts = map(msgspec.json.decode, (self.folder / "posts.jsonl").read_bytes().splitlines())
        return sorted(((post["first_seen"], post["item_id"]) for post in posts), reverse=True)

    def page(self, user: str | None, limit: int, cursor: str | None) -> dict[str, Any]:
        """The answer of `getFeedSkeleton`.

        The cursor names the last post that was shown, and the next page begins behind it. So nothing is repeated or
        left out, whatever is disliked (or posted) between the two.
        """
        posts = self.newest()
        if cursor is not None:
            made, _, uri = cursor.partition("::")
            if not uri:
                raise Refused(400, "InvalidRequest", "malformed cursor")
            posts = [post for post in posts if post < (made, uri)]
        made_at, left = {uri: made for made, uri in posts}, [uri for _, uri in posts]
        shown: list[str] = []
        context = "unfiltered"
        while left and (want := limit - len(shown)):
            send = math.ceil(want * self.send) if user else want
            kept, left = left[:send], left[send:]
            if user:
                kept, context = self.kept(user, kept, want)
            shown += kept
        answer: dict[str, Any] = {"feed": [{"post": uri, "feedContext": context} for uri in shown]}
        if len(shown) == limit and shown[-1] != posts[-1][1]:
            answer["cursor"] = f"{made_at[shown[-1]]}::{shown[-1]}"
        return answer | {"reqId": uuid.uuid4().hex}

    def kept(self, user: str, candidates: list[str], want: int) -> tuple[list[str], str]:
        """What to show of the candidates, and the version of the snapshot; the first of them where the filter fails."""
        try:
            decision = self.filter.filter(user, candidates, want=want)
        except ConrecError:
            logging.exception("unfiltered")
            return candidates[:want], "unfiltered"
        self.send = decision.send / want if decision.send else self.send
        return decision.kept, str(decision.version)

    def take(self, user: str, interactions: list[Interaction]) -> None:
        """Note interactions: the next request meets the dislikes and undos, and the day's log has everything."""
        now, known = datetime.now(UTC), {uri for _, uri in self.newest()}
        events: list[Event] = []
        for one in interactions:
            for kind in KINDS.get(one.event.removeprefix(DEFS), ()) if one.item in known else ():
                # Interactions have no id. The same user, post, event and page is the same one, delivered again.
                told = "\n".join((user, one.item, kind, one.event, one.req_id, one.feed_context))
                key = hashlib.sha256(told.encode()).hexdigest()
                # A microsecond apart, so that also within one request the last word counts.
                moment = now + timedelta(microseconds=len(events))
                events.append(Event(user, one.item, moment, kind, key, one.feed_context))
        self.log.append(events)
        said = [one for one in events if one.kind in ("dislike", "undo")]
        if said:
            times = [round(one.time.timestamp() * 1e6) for one in said]
            self.filter.record([Entry(user, one.item_id, one.kind, time, id=one.id) for one, time in zip(said, times)])
