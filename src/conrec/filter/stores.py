"""Which store the users of a set are in: made when the set is written, opened when it is used."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any, Literal

from conrec.errors import ConrecError
from conrec.filter.lmdb_store import LmdbUsers
from conrec.filter.redis_store import RedisUsers
from conrec.filter.snapshot import Manifest
from conrec.filter.user_store import Layout, MappedUsers, MappedUsersWriter, UserWriter

Kind = Literal["mapped", "lmdb", "redis"]
REDIS = "CONREC_REDIS"
"""Environment variable with the server's URL, where none is given: a URL may hold a password, a manifest may not."""


def create_users(
    kind: Kind, folder: Path, layout: Layout, items: int, redis: str | None
) -> tuple[UserWriter, dict[str, Any]]:
    """An empty store for a set being written in `folder`, and what the manifest has to say of it."""
    about: dict[str, Any] = {"kind": kind}
    if kind == "mapped":
        return MappedUsersWriter(folder / "users", layout, items), about
    if kind == "lmdb":
        return LmdbUsers(folder / "users", layout, items, write=True), about
    about["namespace"] = uuid.uuid4().hex
    # A portion of many users takes its time.
    return RedisUsers(_url(redis), about["namespace"], layout, items, timeout=60), about


def open_users(
    folder: Path, manifest: Manifest, redis: str | None = None, write: bool = False
) -> MappedUsers | LmdbUsers | RedisUsers:
    """The users of a set; with `write`, single users of LMDB can be updated (those of Redis always can).

    ConrecError where they are not there, or a mapped set is to be written.
    """
    about = manifest.users
    layout = Layout(**about["layout"])
    users: MappedUsers | LmdbUsers | RedisUsers
    if about["kind"] == "mapped":
        if write:
            raise ConrecError(f"{folder}: mapped users are never changed; write a set with its users in lmdb or redis")
        users = MappedUsers(folder / "users", layout)
    elif about["kind"] == "lmdb":
        users = LmdbUsers(folder / "users", layout, manifest.items, write)
    else:
        users = RedisUsers(_url(redis), about["namespace"], layout, manifest.items)
    if about["count"] and not len(users):
        raise ConrecError(f"{folder}: its {about['count']} users are gone from {about['kind']}; write the set again")
    return users


def drop_users(manifest: Manifest, redis: str | None) -> None:
    """Delete what a set has outside of its folder."""
    if manifest.users["kind"] == "redis":
        layout = Layout(**manifest.users["layout"])
        users = RedisUsers(_url(redis), manifest.users["namespace"], layout, manifest.items, timeout=60)
        users.drop()
        users.close()


def _url(redis: str | None) -> str:
    url = redis or os.environ.get(REDIS)
    if not url:
        raise ConrecError(f"the users are in Redis, but no server was named; set {REDIS} to its URL")
    return url
