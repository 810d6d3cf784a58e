"""Every store of users behaves alike: memory-mapped, and Redis on a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conrec.data.schema import MAX_ID_BYTES
from conrec.errors import ConrecError
from conrec.filter.redis_store import RedisUsers
from conrec.filter.stores import UserStore
from conrec.filter.user_store import Layout, MappedUsers, MappedUsersWriter, Users
from tests.filter.published import DIMENSIONS, ITEMS, PREDICTED, some_users
from tests.filter.redis_server import redis_server

LAYOUT = Layout(PREDICTED, DIMENSIONS)
Make = Callable[..., UserStore]


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from redis_server(tmp_path_factory.mktemp("redis"))


def mapped(folder: Path, *portions: Users) -> MappedUsers:
    writer = MappedUsersWriter(folder, LAYOUT, ITEMS)
    for users in portions:
        writer.add(users)
    assert writer.finish() == sum(map(len, portions))
    return MappedUsers(folder, LAYOUT)


def in_redis(url: str, namespace: str, *portions: Users) -> RedisUsers:
    writer = RedisUsers(url, namespace, LAYOUT, ITEMS, timeout=10)
    for users in portions:
        writer.add(users)
    assert writer.finish() == sum(map(len, portions))
    return RedisUsers(url, namespace, LAYOUT, ITEMS, timeout=10)


@pytest.fixture(params=["mapped", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Fills a store with portions of users and opens it."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        return lambda *portions: in_redis(url, tmp_path.as_posix(), *portions)
    return lambda *portions: mapped(tmp_path, *portions)


@pytest.fixture
def make_open(redis_url: str, tmp_path: Path) -> Callable[..., RedisUsers]:
    """The same for the store whose users can be updated."""
    return lambda *portions: in_redis(redis_url, tmp_path.as_posix(), *portions)


def same(store: UserStore, users: Users) -> None:
    for n, user_id in enumerate(users.ids):
        user = store.get(user_id)
        assert user is not None
        np.testing.assert_array_equal(user.predicted, users.predicted[n][users.predicted[n] >= 0])
        assert user.history.packed() == users.histories[n]
        np.testing.assert_array_equal(user.factors.vector, users.vectors[n])
        assert user.factors.bias == pytest.approx(float(users.biases[n]))
        assert user.activity == users.activity[n]


def test_what_goes_in_comes_out(make: Make) -> None:
    first, second = some_users(12), some_users(7, seed=1, ids=[f"v{n}" for n in range(7)])
    store = make(first, second)
    assert store.entries() == 19
    same(store, first)
    same(store, second)


def test_strange_ids(make: Make) -> None:
    ids = ["ü", "a b", "💙" * 20, "x" * MAX_ID_BYTES, "a\nb", "1", "-", "a\0", "a"]
    users = some_users(len(ids), ids=ids)
    same(make(users), users)


def test_who_is_not_there_is_not_found(make: Make) -> None:
    store = make(some_users(12))
    for stranger in ("u12", "u", "", "U1", "u1 ", "\ud800", "x" * 600):
        assert store.get(stranger) is None, stranger


def test_an_id_is_a_string(make: Make) -> None:
    store = make(some_users(3))
    for wrong in (1, None, b"u1"):
        with pytest.raises(TypeError, match="a string"):
            store.get(wrong)  # type: ignore[arg-type]


def test_no_users_at_all(make: Make) -> None:
    store = make()
    assert store.entries() == 0
    assert store.get("u0") is None
    assert list(store.portions()) == []


@pytest.mark.parametrize("size", [1, 5, 100])
def test_portions_hold_every_user_once(make: Make, size: int) -> None:
    users = some_users(12)
    portions = list(make(users).portions(size))
    ids = [id for portion in portions for id in portion.ids]
    assert sorted(ids) == sorted(users.ids)
    for portion in portions:
        rows = [users.ids.index(id) for id in portion.ids]
        for name in ("predicted", "vectors", "biases", "activity"):
            np.testing.assert_array_equal(getattr(portion, name), getattr(users, name)[rows])


@pytest.mark.parametrize(
    ("ids", "message"), [(["a", "b", "a"], "occurs twice"), (["a", "", "b"], "0 bytes"), (["a", "é" * 256, "b"], "512")]
)
def test_ids_that_cannot_be_stored(make: Make, ids: list[str], message: str) -> None:
    with pytest.raises(ConrecError, match=message):
        make(some_users(3, ids=ids))


def test_a_user_in_two_portions(make: Make) -> None:
    with pytest.raises(ConrecError, match="occurs twice"):
        make(some_users(3), some_users(1, ids=["u2"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predicted": np.full((3, PREDICTED), ITEMS, np.int32)}, "predicted: values"),
        ({"predicted": np.full((3, PREDICTED), -2, np.int32)}, "predicted: values"),
        ({"predicted": np.array([[-1, 1, -1, -1, -1]] * 3, np.int32)}, "predicted: -1 pads"),
        ({"predicted": np.zeros((3, PREDICTED + 1), np.int32)}, "predicted: shape"),
        ({"vectors": np.full((3, DIMENSIONS), np.nan, np.float32)}, "not finite"),
    ],
)
def test_arrays_that_do_not_fit(make: Make, change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(replace(some_users(3), **change))


def test_single_users_are_updated_in_place(make_open: Callable[..., RedisUsers]) -> None:
    users, newer = some_users(12), some_users(4, seed=5, ids=["u3", "new", "u7", "ü"])
    store = make_open(users)
    store.put(newer)
    assert store.entries() == 14
    same(store, newer)
    untouched = [n for n in range(12) if n not in (3, 7)]
    old = Users.of_records([users.ids[n] for n in untouched], users.records(LAYOUT, ITEMS)[untouched])
    same(store, replace(old, histories=[users.histories[n] for n in untouched]))


def test_an_update_that_fails_changes_nothing(make_open: Callable[..., RedisUsers]) -> None:
    users = some_users(3)
    store = make_open(users)
    with pytest.raises(ConrecError):
        store.put(some_users(3, seed=1, ids=["u0", "x" * 600, "u1"]))
    with pytest.raises(ValueError):
        store.put(replace(some_users(3, seed=1), predicted=np.full((3, PREDICTED), ITEMS, np.int32)))
    same(store, users)
    assert store.entries() == 3


def test_foreign_bytes_are_refused(make_open: Callable[..., RedisUsers]) -> None:
    store = make_open(some_users(3))
    store.layout = Layout(PREDICTED + 1, DIMENSIONS)
    with pytest.raises(ConrecError, match="a record of"):
        store.get("u1")


def test_mapped_records_cut_short_are_named(tmp_path: Path) -> None:
    mapped(tmp_path, some_users(12))
    whole = (tmp_path / "records.npy").read_bytes()
    (tmp_path / "records.npy").write_bytes(whole[:-1])
    with pytest.raises(ConrecError, match=r"records\.npy"):
        MappedUsers(tmp_path, LAYOUT)


def test_redis_sets_do_not_meet_and_are_dropped_whole(redis_url: str) -> None:
    one, other = in_redis(redis_url, "one", some_users(4)), in_redis(redis_url, "other", some_users(5, seed=1))
    assert (one.entries(), other.entries()) == (4, 5)
    one.drop()
    assert (one.entries(), other.entries()) == (0, 5)
    assert one.get("u1") is None
    assert other.get("u1") is not None


def test_what_a_killed_writer_left_in_redis_expires(redis_url: str) -> None:
    import redis

    writer = RedisUsers(redis_url, "killed", LAYOUT, ITEMS)
    writer.add(some_users(4))
    client = redis.Redis.from_url(redis_url)

    def lifetimes() -> set[bool]:
        return {client.ttl(key) > 0 for key in client.scan_iter("conrec:killed:*")}

    assert lifetimes() == {True}
    writer.finish()
    assert lifetimes() == {False}


def test_a_redis_server_that_went_away_is_one_clear_line(tmp_path: Path) -> None:
    server = redis_server(tmp_path)
    store = in_redis(next(server), "gone", some_users(3))
    assert store.get("u1") is not None
    server.close()  # type: ignore[attr-defined]
    with pytest.raises(ConrecError, match=r"Redis: .*is the server there"):
        store.get("u1")
    with pytest.raises(ConrecError, match="does not answer"):
        RedisUsers(f"unix://{tmp_path}/redis.sock", "gone", LAYOUT, ITEMS)
