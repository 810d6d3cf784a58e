"""Users in LMDB, where single users are updated in place while the service reads (the extra `lmdb`).

Many processes may read, one at a time may write; a reader sees a user before or after an update, never in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from conrec.errors import ConrecError
from conrec.filter.id_index import MAX_BYTES, checked_utf8, key_of
from conrec.filter.user_store import Layout, StoredUser, Users, records_of

ROOM = 1 << 38
"""Addresses set aside (256 GB); the file itself is only as large as what is in it."""


class LmdbUsers:
    """Users in a folder of LMDB's. Open it once in a process: LMDB's rule."""

    def __init__(self, folder: Path, layout: Layout, items: int, write: bool = False) -> None:
        """`write`: make it if need be, and allow `put` and `remove`. ConrecError where it cannot be opened."""
        try:
            import lmdb
        except ImportError:
            raise ConrecError("users in LMDB need an extra package; pip install 'conrec[lmdb]'") from None
        self.layout, self._items, self._folder = layout, items, folder
        try:
            self._environment = lmdb.open(
                str(folder), map_size=ROOM, readonly=not write, create=write, max_readers=1024, readahead=False
            )
        except lmdb.Error as error:
            raise ConrecError(f"{folder}: LMDB cannot open it ({error}); write the set again") from error

    def get(self, user_id: str) -> StoredUser | None:
        """The user's record, or None for one that is not there."""
        key = _key(user_id)
        if key is None:
            return None
        with self._environment.begin() as transaction:
            value = transaction.get(key)
        return None if value is None else StoredUser(records_of([value], self.layout, str(self._folder))[0])

    def __len__(self) -> int:
        return int(self._environment.stat()["entries"])

    def portions(self, size: int = 100_000) -> Iterator[Users]:
        """All users, sorted by the bytes of their ids, as they were when the reading began."""
        with self._environment.begin() as transaction:
            entries = iter(transaction.cursor())
            while part := list(islice(entries, size)):
                ids = [key.decode() for key, _ in part]
                yield Users.of_records(ids, records_of([value for _, value in part], self.layout, str(self._folder)))

    def put(self, users: Users) -> None:
        """Add users, or replace those that are there; all of them or, if something goes wrong, none."""
        self._put(users, overwrite=True)

    def remove(self, user_id: str) -> bool:
        """Forget a user; whether there was one."""
        key = _key(user_id)
        if key is None:
            return False
        with self._environment.begin(write=True) as transaction:
            return bool(transaction.delete(key))

    def add(self, users: Users) -> None:
        """As `put`, but ConrecError for a user that is there already."""
        self._put(users, overwrite=False)

    def _put(self, users: Users, overwrite: bool) -> None:
        records = users.records(self.layout, self._items)
        checked_utf8(users.ids)
        with self._environment.begin(write=True) as transaction:
            for user_id, record in zip(users.ids, records):
                if not transaction.put(user_id.encode(), record.tobytes(), overwrite=overwrite):
                    raise ConrecError(f"id {user_id[:40]!r} occurs twice; give each once")

    def finish(self) -> int:
        """Flush to disk; the number of users."""
        self._environment.sync(True)
        count = len(self)
        self.close()
        return count

    def close(self) -> None:
        """Let go of the files."""
        self._environment.close()


def _key(user_id: str) -> bytes | None:
    """None for what cannot be a key, and so is nobody's."""
    key = key_of(user_id)
    return key if 0 < len(key) <= MAX_BYTES else None
