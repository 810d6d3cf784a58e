"""A run whose recipe names a salt: no byte below it holds the id of a user, and everything takes ids all the same."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

import conrec
from conrec.__main__ import main
from conrec.data.pseudonyms import Pseudonyms
from conrec.errors import ConrecError
from conrec.filter.filter import CoNRecFilter
from conrec.filter.guardrails import Guardrails
from tests.deploy.test_forget import holding
from tests.model.small import tables
from tests.serve.small import serving, wait_for_page

ANN, BOB = "person-12", "person-13"
ANYBODY = r"person-\d+"
FIT = ("fit", "{at}/events.csv", "{at}/items.csv", "--out", "{at}/run", "--recipe", "{at}/fit.toml")


def command(folder: Path, *words: str) -> int:
    return main([word.format(at=folder) for word in words])


def with_names(events: pa.Table) -> pa.Table:
    names = pc.binary_join_element_wise("person-", pc.replace_substring(events["user_id"], "u", ""), "")
    return events.set_column(0, "user_id", names)


def everything(run: Path) -> bytes:
    """All that lies below a run: the bytes of each file, and the cells of each table, which may be compressed."""
    parts = [path.read_bytes() for path in run.rglob("*") if path.is_file()]
    parts += [str(pq.read_table(path).to_pylist()).encode() for path in run.rglob("*.parquet")]
    assert len(parts) > 20
    return b"\n".join(parts)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a salt, published, calibrated, and a day ingested; to be copied."""
    folder = tmp_path_factory.mktemp("salted")
    events, items = tables()
    text = with_names(events).to_pylist()
    text.append(text[0])  # dropped, and kept as such
    table = pa.Table.from_pylist(text)
    table = table.set_column(2, "time", table["time"].cast(pa.timestamp("us")).cast(pa.string()))
    broken = pa.Table.from_pylist([{**table.to_pylist()[0], "time": "soon", "user_id": ANN}])
    pa_csv.write_csv(pa.concat_tables([table, broken]), folder / "events.csv")
    pa_csv.write_csv(items, folder / "items.csv")
    (folder / "salt").write_text("5" * 64)
    salt = f'salt_file = "{folder / "salt"}"\n'
    (folder / "fit.toml").write_text(salt + 'name = "salted"\n[data]\nadapter = "generic"\n[sid]\nlevels = 0\n')
    assert command(folder, *FIT) == 0
    assert command(folder, "calibrate", "{at}/run", "--likes-lost", "0.1") == 0
    assert command(folder, "refresh", "{at}/run") == 0
    rows = ["user_id,item_id,time,kind", f"{BOB},,soon,click", *[f"{BOB},i5,2026-05-02,favorite"] * 40]
    rows += [f"{ANN},i3,2026-05-02T10:00:00Z,dislike", f"{ANN},nowhere,2026-05-02T10:00:00Z,dislike"]
    (folder / "day.csv").write_text("\n".join(rows))
    assert command(folder, "refresh", "{at}/run", "--events", "{at}/day.csv") == 0
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it; the salt lies where it lay."""
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def test_no_byte_below_the_run_holds_an_id(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, ann = folder / "run", Pseudonyms(folder / "salt")(ANN)
    rejected = pq.read_table(run / "prepare" / "rejected.parquet").to_pylist()
    causes = {row["cause"] for row in rejected}
    assert causes == {"time is neither ISO 8601 nor a Unix time", "duplicate"}
    with serving(run / "snapshots", run=run, salt_file=folder / "salt") as client:
        wait_for_page(client)
        assert not client.filter(ANN, ["i1", "i2"])["unknown_user"]
        assert client.filter(ANN, ["i1", "i3"])["never_again"] == ["i3"]
        client.post(f"/v1/users/{ANN}/dislikes", {"item": "i9"})
        client.post("/v1/events", {"events": [{"id": "e1", "user": ANN, "item": "i11", "kind": "dislike"}]})
        client.post(f"/v1/users/{ANN}/mutes", {"kind": "word", "name": "red"})
        assert set(client.filter(ANN, ["i0", "i3", "i9", "i11"])["never_again"]) >= {"i3", "i9", "i11"}
        assert client.get(f"/v1/users/{ANN}")["user"] == ann
        assert client.get(f"/v1/users/{ANN}/mutes")["mutes"] == [{"kind": "word", "name": "red"}]
        # The page names users by their pseudonyms, finds them by either, and asks for them by what it has.
        assert client.get(f"/ui/users?q={ANN}")["users"] == [ann]
        assert client.get("/ui/users?q=")["users"]
        for name in (ANN, ann):
            assert client.get(f"/ui/user?user={name}")["view"]["user"] == ann
            assert client.get(f"/ui/candidates?user={name}")["source"] == "shown"
        assert b"person" not in everything(run)
        client.post(f"/v1/users/{ann}/undo", {"item": "i9"})
        assert "i9" not in client.filter(ANN, ["i1", "i9", "i11"])["never_again"]
    assert command(folder, "refresh", "{at}/run") == 0
    assert CoNRecFilter.load(run / "snapshots", salt_file=folder / "salt").filter(ANN, ["i1", "i11"]).never_again == [
        "i11"
    ]
    assert re.search(ANYBODY.encode(), everything(run)) is None
    assert ann.encode() in everything(run)
    capsys.readouterr()
    assert command(folder, "forget", ANN, "--run", "{at}/run") == 0
    assert int(capsys.readouterr().out.split()[0]) > 20
    assert holding(run, ann) == set()


def test_a_merged_log_is_trained_on_and_goes_on_with_the_same_people(folder: Path) -> None:
    run, salt = folder / "run", folder / "salt"
    assert command(folder, "refresh", "{at}/run", "--merged", "{at}/merged") == 0
    names = set(pq.read_table(folder / "merged" / "events.parquet")["user_id"].to_pylist())
    assert names == set(map(Pseudonyms(salt), {f"person-{n}" for n in range(150)}))
    words = ("run", "{at}/merged/recipe.toml", "--data", "{at}/merged", "--out", "{at}/again", "--to", "prepare")
    assert command(folder, *words) == 0
    again = pq.read_table(folder / "again" / "prepare" / "events.parquet")
    assert set(again["user_id"].to_pylist()) == names
    assert re.search(ANYBODY.encode(), everything(run)) is None


def test_tables_from_python_leave_no_copy_behind(made: Path, tmp_path: Path) -> None:
    events, items = tables()
    model = conrec.fit(with_names(events), items, recipe=made / "fit.toml", folder=tmp_path / "run")
    assert model.filter(ANN, ["i1", "i2"]).unknown_user is False
    assert re.search(ANYBODY.encode(), everything(tmp_path / "run")) is None
    assert conrec.load(tmp_path / "run").filter(ANN, ["i1"]).scores == model.filter(ANN, ["i1"]).scores


def test_a_file_of_candidates_and_a_list_of_exempt_users_name_ids(folder: Path) -> None:
    (folder / "ranked.csv").write_text(f"user_id,item_id\n{ANN},i1\nstranger,i1\n")
    assert command(folder, "filter", "{at}/run", "{at}/ranked.csv", "--out", "{at}/kept.csv") == 0
    kept = pa_csv.read_csv(folder / "kept.csv").to_pylist()
    assert [row["user_id"] for row in kept] == [ANN, "stranger"]
    assert [row["score"] is None for row in kept] == [False, True]
    exempt = Guardrails(exempt=frozenset({ANN}))
    loaded = CoNRecFilter.load(folder / "run" / "snapshots", exempt, salt_file=folder / "salt")
    assert loaded.filter(ANN, ["i1"]).exempt
    assert not loaded.filter(BOB, ["i1"]).exempt


def test_another_salt_or_none_is_said_and_nothing_is_mixed(folder: Path, made: Path, tmp_path: Path) -> None:
    run, other = folder / "run", tmp_path / "other"
    other.write_text("6" * 64)
    for salt in (None, other):
        with pytest.raises(ConrecError, match="its users have pseudonyms of another salt; salt_file is"):
            CoNRecFilter.load(run / "snapshots", salt_file=salt)
    recipe = run / "recipe.toml"
    recipe.write_text(recipe.read_text().replace(str(made / "salt"), str(other)))
    before = sorted((run / "snapshots").rglob("*"))
    for words in (("refresh", "{at}/run", "--events", "{at}/day.csv"), ("forget", ANN, "--run", "{at}/run")):
        assert command(folder, *words) == 2
    assert sorted((run / "snapshots").rglob("*")) == before
    recipe.write_text(recipe.read_text().replace(str(other), str(tmp_path / "lost")))
    assert command(folder, "refresh", "{at}/run") == 2


def test_a_simulated_log_has_nobody_to_hide(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "demo.toml").write_text(f'salt_file = "{folder / "salt"}"\n')
    assert command(folder, "run", "{at}/demo.toml", "--out", "{at}/demo") == 2
    assert "nobody simulated needs a pseudonym" in capsys.readouterr().err
