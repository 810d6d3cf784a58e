"""Users in Redis, for fleets that have one (the extra `redis`): many machines read, and single users can be updated.

The users of a snapshot are spread over 1024 hashes, `conrec:<namespace>:<n>`, a field a user (the record, if there is
one, and the history behind it): cheaper than a key a user, read whole one hash at a time, and gone with 1024
deletions. The namespace is drawn anew for every snapshot, so that snapshots and deployments never meet. While a
snapshot is being written its hashes carry a time to live; a writer that dies leaves nothing for good.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from conrec.errors import ConrecError, extras_named
from conrec.filter.id_index import checked_utf8, key_of
from conrec.filter.user_store import Layout, StoredUser, Users
from conrec.score.user_history import History

SHARDS = 1024
UNFINISHED_SECONDS = 24 * 3600


class RedisUsers:
    """The users of one snapshot in a Redis server."""

    def __init__(self, url: str, namespace: str, layout: Layout, items: int, timeout: float = 0.1) -> None:
        """url: redis://, rediss:// or unix://; `timeout` (seconds) of every answer, after which ConrecError is raised.

        ConrecError where the server cannot be reached.
        """
        with extras_named("users in Redis"):
            import redis
        self.layout, self._items = layout, items
        self._shards = [f"conrec:{namespace}:{n}" for n in range(SHARDS)]
        self._records = 0
        self._errors = redis.RedisError
        try:
            self._client = redis.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=max(timeout, 1.0))
            self._client.ping()
        except (redis.RedisError, ValueError) as error:
            # Not the URL itself: it may hold a password.
            raise ConrecError(f"the Redis server does not answer ({error}); look at its URL") from error

    def get(self, user_id: str) -> StoredUser | None:
        """What is known of a user, or None where that is nothing. ConrecError where the server does not answer."""
        key = key_of(user_id)
        value = self._ask("hget", self._shard(key), key)
        return None if value is None else StoredUser(self.layout, *self._parted(value))

    def _parted(self, value: bytes) -> tuple[bytes, bytes]:
        """The record (empty: none) and the history; ConrecError where they are none."""
        record = value[1 : 1 + value[0] * self.layout.record.itemsize]
        history = value[1 + len(record) :]
        try:
            History.of_bytes(history)
        except ValueError:
            what = f"{len(value)} bytes, not of {self.layout.record.itemsize} and a history"
            raise ConrecError(f"Redis: a record of {what}; write it again") from None
        return record, history

    def entries(self) -> int:
        """How many users there are, with or without a record."""
        return sum(self._at_once([("hlen", shard) for shard in self._shards]))

    def portions(self, size: int = 100_000) -> Iterator[Users]:
        """All users with a record, shard by shard; who is updated meanwhile appears as before or as after."""
        part: dict[str, bytes] = {}
        for shard in self._shards:
            values = {key.decode(): self._parted(value)[0] for key, value in self._ask("hgetall", shard).items()}
            part |= {key: record for key, record in values.items() if record}
            if len(part) >= size or (part and shard == self._shards[-1]):
                yield Users.of_records(list(part), np.frombuffer(b"".join(part.values()), self.layout.record))
                part = {}

    def put(self, users: Users) -> int:
        """Add users, or replace those that are there; all of them or, if something goes wrong, none.

        Returns how many were not there before.
        """
        records = users.records(self.layout, self._items)
        return self._put(users.ids, [b"\1" + record.tobytes() for record in records], users.all_histories())

    def _put(self, ids: Sequence[str], records: Sequence[bytes], histories: Sequence[bytes]) -> int:
        checked_utf8(ids)
        fields: dict[str, dict[bytes, bytes]] = {}
        for user_id, record, history in zip(ids, records, histories):
            key = user_id.encode()
            fields.setdefault(self._shard(key), {})[key] = record + history
        return sum(self._at_once([("hset", shard, None, None, mapping) for shard, mapping in fields.items()]))

    def add(self, users: Users) -> None:
        """While a snapshot is written: as `put`, and what is there expires unless `finish` is called.

        ConrecError for a user that is there already.
        """
        self._added(users.ids, self.put(users))
        self._records += len(users)

    def add_histories(self, ids: Sequence[str], histories: Sequence[bytes]) -> None:
        """As `add`, of users without a record."""
        self._added(ids, self._put(ids, [b"\0"] * len(ids), histories))

    def _added(self, ids: Sequence[str], new: int) -> None:
        if new < len(ids):
            raise ConrecError(f"an id among {ids[0][:40]!r} and those after it occurs twice; give each once")
        self._at_once([("expire", shard, UNFINISHED_SECONDS) for shard in self._shards])

    def finish(self) -> int:
        """Keep what was added for good; the number of users with a record."""
        self._at_once([("persist", shard) for shard in self._shards])
        self.close()
        return self._records

    def drop(self) -> None:
        self._at_once([("unlink", shard) for shard in self._shards])

    def close(self) -> None:
        self._client.close()

    def _shard(self, key: bytes) -> str:
        return self._shards[zlib.crc32(key) % SHARDS]

    def _ask(self, command: str, *arguments: Any) -> Any:
        try:
            return getattr(self._client, command)(*arguments)
        except self._errors as error:
            raise ConrecError(f"Redis: {error}; is the server there?") from error

    def _at_once(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        """All of them or none, in one round trip."""
        try:
            with self._client.pipeline(transaction=True) as pipeline:
                for command, *arguments in commands:
                    getattr(pipeline, command)(*arguments)
                return list(pipeline.execute())
        except self._errors as error:
            raise ConrecError(f"Redis: {error}; is the server there?") from error
