"""The two stages on a small run folder: what they write, and what they say when something is wrong."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from conrec.config import EvaluateConfig, FilterConfig, Recipe
from conrec.data.exposures import DISLIKED, LIKED, without_prediction
from conrec.data.instances import Instances, Items
from conrec.deploy.apply import filter_file
from conrec.deploy.replay import read_replays
from conrec.deploy.served import served_score
from conrec.errors import ConrecError
from conrec.evaluate.reliability import reliability
from conrec.evaluate.results import FilterReplay, Metrics, read
from conrec.features.prepared_log import PreparedLog
from conrec.filter.thresholds import Thresholds
from conrec.score.factors import UserFactors, served_scores
from conrec.score.history import HistoryScore
from conrec.score.probability import DislikeProbability, probability
from conrec.stages.evaluate import evaluate
from conrec.stages.filter import filter_replay
from conrec.stages.score import learn_score
from tests.jobs import job
from tests.small_log import small_log, write_small_run

pytestmark = pytest.mark.slow

K = 5
RECIPE = Recipe(
    name="small", seeds=(0, 1), evaluate=EvaluateConfig(k=K, bootstrap=50), filter=FilterConfig(likes_lost=0.1)
)


def write_predictions(
    path: Path, instances: Instances, items: Items, lists: np.ndarray, candidates: bool = True
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    n = len(instances)
    columns = {
        "instance_id": pa.array(instances.ids),
        "split": instances.split.tolist(),
        "user_id": instances.users.tolist(),
        "cutoff": pa.array(instances.cutoffs).cast(pa.timestamp("us", tz="UTC")),
        "items": [[items.ids[row] for row in named] for named in lists],
        "scores": [[0.0] * len(named) for named in lists],
    }
    if candidates:
        columns["candidate_scores"] = [[1.0, 0.0, 0.0, 0.0, 0.0]] * n
        columns["candidate_filter_scores"] = [[0.5] * 5] * n
    pq.write_table(pa.table(columns), path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """prepare, compress and predict/seed0 and seed1 of a small run."""
    folder = tmp_path_factory.mktemp("run")
    items, log = small_log(users=80, items=60, events=1200)
    validation, test = write_small_run(folder, items, log)
    both = Instances(
        **{
            name: np.concatenate([getattr(validation, name), getattr(test, name)])
            for name in ("split", "users", "cutoffs", "n_dislikes", "n_positives", "next")
        },
        ids=np.arange(len(validation) + len(test)),
        **dict.fromkeys(
            (
                *("dislikes", "dislike_times", "positives", "positive_times"),
                *("seen", "future", "future_positives"),
            ),
            validation.seen,
        ),
    )
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        predicted = folder / "predict" / f"seed{seed}"
        # The next dislike itself in two lists of three.
        lists = np.stack([rng.permutation(60)[:K] for _ in range(len(both.ids))])
        right = rng.random(len(lists)) < 0.67
        lists[right, 0] = both.next[right]
        write_predictions(predicted / "predictions.parquet", both, items, lists)
        worse = np.where(np.arange(K) == 0, (lists + 1) % 60, lists)
        for stage in ("warmup", "stage1", "stage2"):
            write_predictions(predicted / "stages" / f"{stage}.parquet", both, items, worse, candidates=False)
        write_predictions(predicted / "stages" / "stage3.parquet", both, items, lists, candidates=False)
        for split in ("validation", "test"):
            replay = PreparedLog(folder / "prepare", folder / "compress").replay(split, RECIPE.split)
            left = without_prediction(replay, both)
            assert len(left)
        write_predictions(predicted / "replay.parquet", left, items, np.zeros((len(left), K), int), candidates=False)
        with pytest.MonkeyPatch.context() as patch:  # the log is short: the first window is its second week
            patch.setattr("conrec.score.backtest.FIRST_HORIZONS", 1)
            learn_score(job(folder, "score", RECIPE, seed))
            filter_replay(job(folder, "filter", RECIPE, seed))
    evaluate(job(folder, "evaluate", RECIPE))
    return folder


@pytest.fixture(scope="module")
def metrics(run: Path) -> dict:
    return json.loads((run / "evaluate" / "metrics.json").read_text())


def test_every_system_and_metric_is_in_the_table(metrics: dict) -> None:
    assert metrics["dataset"] == "small"
    assert metrics["protocol"]["horizon_days"] == 7
    assert metrics["protocol"]["seeds"] == [0, 1]
    names = {"conrec", "popularity_7d", "popularity_14d", "popularity_30d", "popularity_all", "popularity_decayed"}
    names |= {"category_rule", "category_rule_decay", "content_neighbours", "content_neighbours_input"}
    names |= {"co_dislikes"}
    names |= {f"{name}+prior" for name in names if name.startswith(("category", "content", "co_"))}
    assert set(metrics["systems"]) == names
    assert set(metrics["comparisons"]) == names - {"conrec"}
    for system, figures in metrics["systems"].items():
        assert set(figures) >= {"HR@5", "FHR@5", "LUF@5", "LIF@5", "ZUF@5", "CandAcc"}, system
        assert ("CandAcc_filter" in figures) == (system == "conrec")
        assert 0 <= figures["FHR@5"]["mean"] <= 1
    ours = metrics["systems"]["conrec"]
    assert ours["CandAcc"]["mean"] == 1
    assert ours["CandAcc_filter"]["mean"] == pytest.approx(0.2)
    assert len(ours["HR@5"]["seeds"]) == 2
    assert 0.6 < ours["HR@5"]["mean"] < 0.8
    assert metrics["comparisons"]["popularity_all"]["HR@5"]["verdict"] == "better"


def test_the_stages_are_compared_on_both_splits(metrics: dict) -> None:
    for stages in (metrics["validation"]["stages"], metrics["stages"]):
        assert list(stages) == ["warmup", "stage1", "stage2", "stage3"]
        assert stages["stage3"]["differences"]["warmup"]["HR@5"]["verdict"] == "better"
        assert stages["stage3"]["differences"]["stage2"]["HR@5"]["difference"] > 0.3
        assert stages["stage1"]["differences"]["warmup"]["HR@5"] | {"ci95": None} == {
            "difference": 0,
            "ci95": None,
            "verdict": "not significant",
            "instances": stages["stage1"]["figures"]["HR@5"]["instances"],
        }


@pytest.mark.parametrize(
    ("file", "kind"), [("evaluate/metrics.json", Metrics), ("filter/seed0/replay.json", FilterReplay)]
)
def test_the_files_are_what_their_types_say(run: Path, file: str, kind: type) -> None:
    """No key more and no key less."""
    assert json.loads(msgspec.json.encode(read(run / file, kind))) == json.loads((run / file).read_text())


def test_validity_and_the_filter_are_in_the_table(metrics: dict) -> None:
    assert 0 < metrics["validity"]["valid"] < 1  # these predictions name items at random, judged ones too
    replay = metrics["filter"]
    assert replay["systems"]["conrec"]["exposures"] > 0
    assert {"conrec", "conrec_paper", "bias", "user_rate", "item_rate", "popularity_14d"} <= set(replay["systems"])
    aucs = [one["auc"] for one in replay["seeds"]]
    assert replay["systems"]["conrec"]["auc"] == pytest.approx(np.mean(aucs))
    assert replay["systems"]["conrec"]["chosen"]["threshold"] is not None
    assert replay["coverage"] == 1


def test_it_is_the_same_twice(run: Path, tmp_path: Path) -> None:
    for out in ("a", "b"):
        evaluate(job(run, "evaluate", replace(RECIPE, seeds=(0,)), out=tmp_path / out))
    for name in ("metrics.json", "hits.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_without_predictions_the_baselines_alone_are_measured(run: Path, tmp_path: Path) -> None:
    evaluate(job(run, "evaluate", replace(RECIPE, seeds=()), out=tmp_path))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert "popularity_14d" in metrics["systems"]
    assert "conrec" not in metrics["systems"]
    assert metrics["filter"] is None


def test_every_item_feature_by_itself_is_a_row_that_conrec_is_compared_with(run: Path, tmp_path: Path) -> None:
    for folder in ("prepare", "compress", "predict", "filter"):
        shutil.copytree(run / folder, tmp_path / folder)
    for seed in (0, 1):
        predicted = tmp_path / "predict" / f"seed{seed}"
        (predicted / "alone").mkdir()
        shutil.copy(predicted / "predictions.parquet", predicted / "alone" / "prior.parquet")
    evaluate(job(tmp_path, "evaluate", RECIPE, out=tmp_path / "out"))
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    part, whole = (metrics["systems"][name] for name in ("conrec_prior", "conrec"))
    assert part["HR@5"] == whole["HR@5"]
    assert metrics["comparisons"]["conrec_prior"]["HR@5"]["difference"] == 0


def test_the_oracle_is_a_row_where_the_truth_is_known(run: Path, tmp_path: Path) -> None:
    for folder in ("prepare", "compress", "predict", "filter"):
        shutil.copytree(run / folder, tmp_path / folder)
    prepared = tmp_path / "prepare"
    instances = pq.read_table(prepared / "instances.parquet")
    right = dict.fromkeys(pq.read_table(prepared / "candidates.parquet")["instance_id"].to_pylist(), [1.0] + 19 * [0.0])
    scores = pa.array([right.get(n) for n in instances["instance_id"].to_pylist()], pa.list_(pa.float64()))
    truth = {"instance_id": instances["instance_id"], "items": instances["future"], "candidate_scores": scores}
    pq.write_table(pa.table(truth), prepared / "truth.parquet")
    evaluate(job(tmp_path, "evaluate", replace(RECIPE, seeds=(0,)), out=tmp_path / "out"))
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["systems"]["oracle"]["HR@5"]["mean"] == 1
    assert metrics["systems"]["oracle"]["CandAcc"]["mean"] == 1


def test_the_threshold_is_validations_and_keeps_the_budget_there(run: Path) -> None:
    report = json.loads((run / "filter" / "seed0" / "replay.json").read_text())
    table = pq.read_table(run / "filter" / "seed0" / "scores.parquet").to_pydict()
    score, label = np.array(table["conrec"]), np.array(table["label"])
    here = np.array(table["split"]) == "validation"
    lost = (score[here & (label == LIKED)] > report["threshold"] + 1e-7).mean()
    assert lost <= 0.1
    assert report["validation"]["systems"]["conrec"]["chosen"]["likes_lost"] == pytest.approx(lost)
    assert report["test"]["systems"]["conrec"]["chosen"]["threshold"] == report["threshold"]
    test = np.array(table["split"]) == "test"
    chances = DislikeProbability.fit(score[here], label[here] == DISLIKED)
    given = probability(chances.of(score[test]))
    found = reliability(given, label[test] == DISLIKED, np.array(table["user_id"])[test])
    assert report["test"]["reliability"] == msgspec.to_builtins(found)
    assert report["validation"]["coverage"] < 1  # only the test's windows were predicted for in full


def test_a_threshold_in_the_recipe_is_the_one(run: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, filter=FilterConfig(threshold=0.4))
    filter_replay(job(run, "filter", recipe, out=tmp_path))
    assert json.loads((tmp_path / "replay.json").read_text())["threshold"] == 0.4


def test_the_paper_s_filter_is_one_of_those_compared(run: Path) -> None:
    log = PreparedLog(run / "prepare", run / "compress")
    table = pq.read_table(run / "filter" / "seed0" / "scores.parquet").to_pylist()
    predicted = pq.read_table(run / "predict" / "seed0" / "predictions.parquet").to_pylist()
    lists = {(row["user_id"], row["cutoff"]): row["items"] for row in predicted}
    unit, row_of = log.catalog.unit, {item: row for row, item in enumerate(log.items.ids)}
    compared = 0
    for one in table:
        if named := lists.get((one["user_id"], one["cutoff"])):
            cosines = unit[[row_of[item] for item in named]] @ unit[row_of[one["item_id"]]]
            assert one["conrec_paper"] == pytest.approx(cosines.max(), abs=1e-5)
            compared += 1
    assert compared > 100


def test_a_log_too_short_for_the_score_goes_on_without_a_filter(run: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, seeds=(0,))
    for folder in ("prepare", "compress", "predict"):
        shutil.copytree(run / folder, tmp_path / folder)
    learn_score(job(tmp_path, "score", recipe))
    filter_replay(job(tmp_path, "filter", recipe))
    assert list((tmp_path / "filter" / "seed0").iterdir()) == []
    evaluate(job(tmp_path, "evaluate", recipe))
    assert json.loads((tmp_path / "evaluate" / "metrics.json").read_text())["filter"] is None
    for ask in (lambda: read_replays(tmp_path, recipe), lambda: served_score(tmp_path, 0)):
        with pytest.raises(ConrecError, match="take a longer log"):
            ask()


@pytest.fixture
def candidates(tmp_path: Path) -> Path:
    path = tmp_path / "candidates.csv"
    path.write_text("item_id,user_id,rank\ni1, u02,1\ni2 ,u02,2\nnew,u02,3\ni1,stranger,1\nNA,u02,4\n")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_filtering_a_file(run: Path, tmp_path: Path, candidates: Path, suffix: str) -> None:
    out, score = tmp_path / f"kept{suffix}", HistoryScore.load(run / "score" / "seed0")
    log = PreparedLog(run / "prepare", run / "compress")
    mine = log.instances.take(log.instances.users == "u02")
    assert len(mine) > 1
    last = mine.take(np.array([mine.cutoffs.argmax()]))  # what happened since is not known
    day = score.at(log.view, last.cutoffs[0])
    ((vector,), (bias,)) = day.user_factors(last)
    expected = served_scores(day.item_factors(), UserFactors(vector, bias), np.array([1, 2]))
    limit = Thresholds({"threshold": float(expected.mean())})
    account = filter_file(candidates, log, score, RECIPE.split, limit, out)
    if suffix == ".parquet":
        rows = pq.read_table(out).to_pylist()
    else:
        rows = pa_csv.read_csv(
            out, parse_options=pa_csv.ParseOptions(delimiter="\t" if suffix == ".tsv" else ",")
        ).to_pylist()
    assert [row["kept"] for row in rows] == [bool(s < expected.mean()) for s in expected] + [True, True, True]
    assert [row["score"] for row in rows[:2]] == pytest.approx(expected.tolist(), abs=1e-5)
    assert [row["score"] for row in rows[2:]] == [None, None, None]
    assert list(rows[0]) == ["user_id", "item_id", "kept", "score"]
    assert account == {"read": 5, "kept": 4, "dropped": 1, "unknown user": 1, "unknown item": 2}


def test_what_is_wrong_with_a_file_is_one_line(run: Path, tmp_path: Path, candidates: Path) -> None:
    log, score = PreparedLog(run / "prepare", run / "compress"), HistoryScore.load(run / "score" / "seed0")

    def fails(what: str, path: Path = candidates, out: str = "out.csv") -> None:
        with pytest.raises(ConrecError, match=what) as error:
            filter_file(path, log, score, RECIPE.split, Thresholds(None), tmp_path / out)
        assert "\n" not in str(error.value)

    fails("gone.csv: there is no such file", tmp_path / "gone.csv")
    fails("name a .parquet, .csv or .tsv file", tmp_path / "list.xlsx")
    fails("name a .parquet, .csv or .tsv file", out="out.txt")
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("user_id,item\n1,2\n")
    fails("no column 'item_id'; the columns are: user_id, item", wrong)
    wrong.write_text("user_id,item_id\n1,2\n,3\n")
    fails("row 2 has no user_id", wrong)
    wrong.write_text("user_id,item_id\n1,2,3\n")
    fails("wrong.csv: row 1: wrong number of cells; every row is decided about", wrong)
    wrong.write_text('user_id,item_id,note\n1,2,"oops\n1,3,fine\n')
    fails("wrong.csv: row 1: a quote that is not closed", wrong)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"not parquet")
    fails("broken.parquet: cannot be read", broken)
