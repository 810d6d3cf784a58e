"""Pseudonyms: what they are, and that nothing of an id is left where they stand."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conrec.data.pseudonyms import Pseudonyms, pseudonyms_for
from conrec.data.schema import EVENTS, Accounting, Log
from conrec.errors import ConrecError

SALT = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def salt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("salt") / "salt"
    path.write_text(SALT + "\n")  # the line's end is none of it
    return path


def test_a_pseudonym_is_a_keyed_hash_that_is_known_as_one(salt: Path) -> None:
    own = hmac.new(SALT.encode(), b"ann", hashlib.sha256).digest()[:16]
    seal = hmac.new(SALT.encode(), own, hashlib.sha256).digest()[:4]
    assert Pseudonyms(salt)("ann") == base64.b32encode(own + seal).decode()


@given(user=st.text(min_size=1))
def test_any_id_has_one_pseudonym_and_a_pseudonym_itself(salt: Path, user: str) -> None:
    known_as = Pseudonyms(salt)
    name = known_as(user)
    assert (len(name), name.isascii(), known_as(name)) == (32, True, name)
    assert known_as(user + "!") != name


def test_what_looks_like_a_pseudonym_and_is_none_is_an_id(salt: Path, tmp_path: Path) -> None:
    known_as, other = Pseudonyms(salt), tmp_path / "other"
    other.write_bytes(b"x" * 16)
    theirs = Pseudonyms(other)("ann")
    assert known_as(theirs) != theirs
    name = known_as("ann")
    forged = name[:-1] + ("A" if name[-1] != "A" else "B")
    assert known_as(forged) not in (forged, name)
    assert Pseudonyms(other).fingerprint != known_as.fingerprint


def test_ids_that_are_no_strings_are_refused(salt: Path) -> None:
    with pytest.raises(TypeError):
        Pseudonyms(salt)(5)  # type: ignore[arg-type]


def test_a_log_keeps_all_but_the_ids(salt: Path) -> None:
    rows = [{"user_id": user, "item_id": "i", "kind": "click", "time": 0} for user in ("ann", "bob", "ann")]
    account, broken = Accounting(4, 3), pa.table({"file": ["f"], "row": [7], "values": [[("user_id", "ann")]]})
    account.reject("no time", broken)
    account.items = Accounting(1, 0)
    account.items.reject("listed twice", pa.table({"item_id": ["i"]}))
    log = Log(pa.table({}), pa.Table.from_pylist(rows, EVENTS), account).with_users(Pseudonyms(salt))
    ann, bob = map(Pseudonyms(salt), ("ann", "bob"))
    assert log.events["user_id"].to_pylist() == [ann, bob, ann]
    assert log.events.schema == EVENTS
    assert log.events["item_id"].to_pylist() == ["i"] * 3
    kept = log.accounting.all_rejected().to_pylist()
    assert {row["cause"]: (row["row"], row["item_id"]) for row in kept} == {
        "no time": (7, None),
        "listed twice": (None, "i"),
    }
    assert "ann" not in str(kept)


def test_a_salt_that_will_not_do(tmp_path: Path, salt: Path) -> None:
    with pytest.raises(ConrecError, match=r"gone: the salt cannot be read \(No such file"):
        Pseudonyms(tmp_path / "gone")
    (tmp_path / "short").write_text("secret\n")
    with pytest.raises(ConrecError, match="short: a salt has 16 bytes or more; openssl"):
        Pseudonyms(tmp_path / "short")


def test_a_salt_is_asked_for_where_one_was_used_and_only_there(tmp_path: Path, salt: Path) -> None:
    fingerprint = Pseudonyms(salt).fingerprint
    found = pseudonyms_for(salt, fingerprint, tmp_path)
    assert found is not None
    assert found.fingerprint == fingerprint
    assert pseudonyms_for("", None, tmp_path) is None
    with pytest.raises(ConrecError, match="have pseudonyms of another salt; salt_file is not given"):
        pseudonyms_for(None, fingerprint, tmp_path)
    with pytest.raises(ConrecError, match="have pseudonyms of no salt; salt_file is"):
        pseudonyms_for(salt, None, tmp_path)
    with pytest.raises(ConrecError, match="have pseudonyms of another salt; salt_file is"):
        pseudonyms_for(salt, "other", tmp_path)
