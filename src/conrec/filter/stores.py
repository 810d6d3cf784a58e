"""Which store the users of a snapshot are in: made when the snapshot is written, opened when it is used.

Files that are memory-mapped, or a Redis server. Where that is says the environment variable CONREC_REDIS and nothing
else: a URL may hold a password, a manifest or a command line may not.
"""

import os
import uuid
from pathlib import Path
from typing import Any, Literal

from conrec.errors import ConrecError
from conrec.filter.redis_store import RedisUsers
from conrec.filter.snapshot import Manifest
from conrec.filter.user_store import Layout, MappedUsers, MappedUsersWriter

StoreName = Literal["mapped", "redis"]
UserStore = MappedUsers | RedisUsers
UserWriter = MappedUsersWriter | RedisUsers
REDIS = "CONREC_REDIS"
_WRITING_SECONDS = 60.0
"""Redis may take so long for one answer while a snapshot is written: a portion of many users takes its time."""


def create_users(store: StoreName, folder: Path, layout: Layout, items: int) -> tuple[UserWriter, dict[str, Any]]:
    """An empty store for a snapshot being written in `folder`, and what the manifest has to say of it."""
    if store == "mapped":
        return MappedUsersWriter(folder / "users", layout, items), {"store": store}
    namespace = uuid.uuid4().hex
    return RedisUsers(_url(), namespace, layout, items, _WRITING_SECONDS), {"store": store, "namespace": namespace}


def open_users(folder: Path, manifest: Manifest, whole: bool = False) -> UserStore:
    """The users of a snapshot; ConrecError where none is there, or (`whole`) where some are missing."""
    about = manifest.users
    layout = Layout(**about["layout"])
    if about["store"] == "mapped":
        users: UserStore = MappedUsers(folder / "users", layout)
    else:
        users = RedisUsers(_url(), about["namespace"], layout, manifest.items)
    there, noted = users.entries(), about.get("entries", about["count"])
    if there < noted and (whole or not there):
        lost = f"{noted - there:,} of its {noted:,} users are gone from {about['store']}"
        raise ConrecError(f"{folder}: {lost}; publish it again with conrec refresh")
    return users


def drop_users(manifest: Manifest) -> None:
    if manifest.users["store"] == "redis":
        layout = Layout(**manifest.users["layout"])
        users = RedisUsers(_url(), manifest.users["namespace"], layout, manifest.items, _WRITING_SECONDS)
        users.drop()
        users.close()


def _url() -> str:
    url = os.environ.get(REDIS)
    if not url:
        raise ConrecError(f"the users are in Redis, but no server was named; set {REDIS} to its URL")
    return url
