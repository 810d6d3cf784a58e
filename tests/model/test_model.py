"""`conrec.fit` and what it returns: the pipeline's score, a promise or a refusal, a folder that comes back."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

import conrec
from conrec.cli.main import main
from conrec.config import DataConfig, PredictConfig, Recipe, SidConfig
from conrec.data.histories import Histories
from conrec.deploy.refresh import refresh
from conrec.errors import ConrecError
from conrec.evaluate.results import Calibration, read
from conrec.features.prepared_log import PreparedLog
from conrec.files import read_json
from conrec.run import run_stages, stages_of
from conrec.score.history import HistoryScore
from tests.filter.redis_server import redis_server
from tests.model.small import Stream, tables
from tests.serve.small import serving, wait_for_page
from tests.test_errors import without_extras

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> conrec.Model:
    """Fitted once; not calibrated."""
    return conrec.fit(*tables(), folder=tmp_path_factory.mktemp("fit") / "run")


@pytest.fixture
def saved(model: conrec.Model, tmp_path: Path) -> conrec.Model:
    """One that a test may change."""
    return conrec.load(model.save(tmp_path / "saved"))


ITEMS = [f"i{n}" for n in range(60)]


def test_the_filter_scores_as_the_pipeline_does(model: conrec.Model, tmp_path: Path) -> None:
    recipe = Recipe(
        data=DataConfig("generic"), sid=SidConfig(epochs=1), predict=PredictConfig(temperatures=(float("inf"),))
    )
    run_stages(stages_of(recipe), recipe, tmp_path, model.folder / "log", last="score", begin=True)
    log, history = PreparedLog(tmp_path / "prepare", tmp_path / "compress"), HistoryScore.load(tmp_path / "score/seed0")
    ours = HistoryScore.load(model.folder / "score" / "seed0").state()
    for name, value in history.state().items():
        np.testing.assert_array_equal(ours[name], value, err_msg=name)
    cutoff = (log.events.times[-1].astype("datetime64[D]") + 1).astype("datetime64[us]")
    users = np.array(["u3", "u4"])
    instances = Histories(log.events).instances(users, np.full(2, cutoff), 50, 100)
    at = history.at(log.view, cutoff)
    vectors, biases = at.user_factors(instances)
    factors = at.item_factors()
    rows = [log.items.ids.index(item) for item in ITEMS]
    for user, vector, bias in zip(users.tolist(), vectors, biases):
        expected = factors.vectors[rows] @ vector + factors.biases[rows] + bias
        np.testing.assert_allclose(model.filter(user, ITEMS).scores, expected, rtol=1e-4, atol=1e-4)


def test_it_learns_what_is_there_and_says_so(model: conrec.Model) -> None:
    found = model.evaluate()
    assert set(found.summary.systems) == {"conrec", "bias", "boosted"}
    assert found.avoided(0.05) > 2 * found.avoided(0.05, "bias")
    assert "filter replay of fit" in repr(found)
    page = found._repr_html_()
    assert page.count("<svg") >= 3
    assert "boosted" in page
    assert model.account["kept"] == model.account["read"] - sum(model.account["dropped"].values())


def test_no_language_model_and_no_list_is_made(model: conrec.Model) -> None:
    assert {path.name for path in model.folder.iterdir() if path.is_dir()} >= {"prepare", "compress", "score", "filter"}
    assert not any((model.folder / name).exists() for name in ("utilize", "weights", "predict", "evaluate"))
    assert not (model.folder / "prepare" / "candidates.parquet").exists()


def test_a_file_of_candidates_is_filtered_without_lists(model: conrec.Model, tmp_path: Path) -> None:
    pacsv.write_csv(pa.table({"user_id": ["u0"] * len(ITEMS), "item_id": ITEMS}), tmp_path / "ranked.csv")
    assert main(["filter", str(model.folder), str(tmp_path / "ranked.csv"), "--out", str(tmp_path / "kept.csv")]) == 0
    decided, limit = pacsv.read_csv(tmp_path / "kept.csv"), read_json(model._replay / "replay.json")["threshold"]
    scores, kept = decided["score"].to_numpy(), decided["kept"].to_numpy(zero_copy_only=False)
    np.testing.assert_array_equal(kept, scores <= limit)
    assert 0 < kept.sum() < len(ITEMS)
    assert scores[::2].mean() > scores[1::2].mean() + 1  # u0 dislikes what is red


def test_probabilities_are_those_of_the_log(model: conrec.Model) -> None:
    chances = model.predict_proba("u0", ITEMS)
    assert abs(chances[::2].mean() - 0.8) < 0.1  # u0 dislikes what is red
    assert model.evaluate().metrics.reliability.ece < 0.05
    assert chances[1::2].mean() < 0.1
    pairs = model.predict_proba(["u1", "u0", "nobody"], ["i0", "i1", "i2"])
    assert pairs[:2] == pytest.approx([model.predict_proba("u1", ["i0"])[0], chances[1]])
    assert np.isnan([pairs[2], model.predict_proba("u0", ["nothing"])[0]]).all()
    with pytest.raises(ValueError, match="2 users and 1 items"):
        model.predict_proba(["u0", "u1"], ["i0"])


def test_a_promise_is_kept_by_the_filter_or_refused(saved: conrec.Model) -> None:
    events, _ = tables()
    met = set(events.filter(pc.equal(events["user_id"], "u0"))["item_id"].to_pylist())
    new = [item for item in ITEMS if item not in met]  # what was rejected is out whatever its score
    by_replay = read_json(saved.folder / "filter" / "seed0" / "replay.json")["threshold"]
    assert saved.filter("u0", new).threshold == by_replay
    promised = saved.calibrate(likes_lost=0.1)
    assert promised.refused is None
    assert f"{promised.threshold:.4g}" in repr(promised)
    decision = saved.filter("u0", new)
    assert decision.threshold == promised.threshold
    over = {item for item, score in zip(new, decision.scores) if score > promised.threshold}
    assert over
    assert set(decision.dropped) <= over
    assert len(decision.dropped) + decision.kept_by_limit == len(over)
    home = saved.calibrate(likes_lost=0.2, surface="home")
    assert home.threshold is not None
    assert home.threshold < promised.threshold
    assert saved.filter("u0", new, surface="home", want=3).threshold == home.threshold
    assert saved.filter("u0", new).threshold == promised.threshold
    with pytest.raises(ValueError, match="surface 'mail': there are home"):
        saved.filter("u0", new, surface="mail")
    refused = saved.calibrate(likes_lost=0.001)
    assert refused.threshold is None
    assert "users with a like" in str(refused.refused)
    assert "refused: too little data" in refused._repr_html_()
    assert saved.filter("u0", new).dropped == []


@pytest.mark.parametrize("store", ["mapped", "redis"])
def test_two_promises_at_once_in_python_and_over_http(
    saved: conrec.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Any
) -> None:
    with contextlib.ExitStack() as stack:
        if store == "redis":
            server = redis_server(tmp_path)
            monkeypatch.setenv("CONREC_REDIS", next(server))
            stack.callback(server.close)
        snapshots, found = tmp_path / "snapshots", []
        for likes_lost, unwanted in ((0.15, 0.4), (0.1, 0.2), (0.1, 0.001)):
            words = ["--likes-lost", str(likes_lost), "--unwanted", str(unwanted)]
            assert main(["calibrate", str(saved.folder), *words]) == 0
            by_command = read(saved.folder / "calibration.json", Calibration)
            both = saved.calibrate(likes_lost=likes_lost, unwanted=unwanted)
            assert (both.threshold, both.refused) == (by_command.threshold, by_command.refused)
            found.append(both)
            decision = saved.filter("u0", ITEMS)
            assert decision.threshold == both.threshold
            refresh(saved.folder, saved.recipe, snapshots=snapshots, store=store)
            with serving(snapshots) as client:
                wait_for_page(client)
                answer = client.filter("u0", ITEMS)
                told = client.get("/ui/about")["calibration"]
            assert (answer["threshold"], answer["dropped"]) == (both.threshold, decision.dropped)
            assert (told["unwanted"], told["refused"]) == (unwanted, both.refused)
        # Those that cannot be had say why, and nothing goes but what was rejected before.
        assert [one.threshold is None for one in found] == [False, True, True]
        assert "no threshold keeps both promises" in str(found[1].refused)
        assert "it takes 3,725 users" in str(found[2].refused)
        assert decision.dropped == decision.never_again != []


def test_what_was_saved_answers_alike_and_is_a_run_folder(model: conrec.Model, saved: conrec.Model) -> None:
    one, other = model.filter("u7", ITEMS), saved.filter("u7", ITEMS)
    assert (one.scores, one.dropped, one.threshold) == (other.scores, other.dropped, other.threshold)
    with pytest.raises(ConrecError, match="holds files already"):
        model.save(saved.folder)
    day = saved.folder.parent / "day.parquet"
    events, _ = tables()
    late = pa.array([np.datetime64("2026-05-02", "us")] * 3).cast(events["time"].type)
    pq.write_table(events.slice(0, 3).set_column(2, "time", late), day)
    new = saved.folder.parent / "new.csv"
    new.write_text("item_id,title,colour\nnew,red thing,red\n")
    assert refresh(saved.folder, saved.recipe, events=day, items=new).changed
    assert conrec.load(saved.folder).filter("u0", ["new", "i0"]).unknown_items == 0


def test_the_same_log_again_rebuilds_nothing(model: conrec.Model, capsys: pytest.CaptureFixture[str]) -> None:
    conrec.fit(model.folder / "log", folder=model.folder)
    assert capsys.readouterr().err.count("up to date") == 4


def test_a_temporary_folder_goes_with_the_model() -> None:
    events, items = tables()
    found = conrec.fit(Stream(events), Stream(items))
    folder = found.folder
    assert folder.is_dir()
    del found
    gc.collect()
    assert not folder.exists()


def test_too_short_a_log_is_refused_and_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ConrecError, match="too little"):
        conrec.fit(*tables(days=15))
    events, items = tables(events=300)
    with pytest.raises(ConrecError, match=r"^events: row 1: unknown kind 'meh'"):
        conrec.fit(events.set_column(3, "kind", pa.array(["meh"] * 300)), items)
    with pytest.raises(ConrecError, match="reads its own files"):
        conrec.fit(events, items, recipe="movietweetings")
    assert list(tmp_path.iterdir()) == []


def test_the_way_from_a_log_to_the_service_needs_no_extra_but_serve(model: conrec.Model, tmp_path: Path) -> None:
    code = f"""
import conrec
assert not {{"numpy", "pyarrow"}} & set(sys.modules)
model = conrec.fit({str(model.folder / "log")!r})
assert "pip install 'conrec[report]'" in model.evaluate()._repr_html_()
model.calibrate(0.1)
assert 0 < model.predict_proba("u0", ["i0"])[0] < 1
decision = model.filter("u0", {ITEMS!r})
loaded = conrec.load(model.save("saved"))
assert loaded.filter("u0", {ITEMS!r}) == decision
from tests.serve.small import serving
with serving(loaded.folder / "snapshots", run=loaded.folder) as client:
    assert client.filter("u0", {ITEMS!r})["dropped"] == decision.dropped
print(len(decision.dropped))
"""
    done = without_extras(code, cwd=tmp_path, but="serve")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_the_command_line(model: conrec.Model, tmp_path: Path) -> None:
    for name, table in zip(("log", "shop"), tables()):
        pacsv.write_csv(table, tmp_path / f"{name}.csv")
    words = ["fit", "log.csv", "shop.csv", "--out", "model"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "conrec", *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "filter replay of fit" in done.stdout
    assert "boosted" in done.stdout
    read_back = conrec.load(tmp_path / "model")
    assert read_back.filter("u0", ITEMS).scores == model.filter("u0", ITEMS).scores
    broken = subprocess.run(
        [sys.executable, "-m", "conrec", "fit", "nowhere.csv", "--out", "model2"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert broken.returncode == 2
    assert "nowhere.csv" in broken.stderr
    (tmp_path / "model" / "filter" / "seed0" / "manifest.json").unlink()
    with pytest.raises(ConrecError, match="as far as filter"):
        conrec.load(tmp_path / "model")
