"""The page as an operator, a screen reader, a browser and an attacker see it."""

from __future__ import annotations

import importlib.util
import itertools
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from conrec.config import Recipe
from conrec.errors import ConrecError
from conrec.evaluate.results import (
    Difference,
    FilterComparison,
    FilterFigures,
    Metrics,
    StageFigures,
    StageManifest,
    Validity,
    read,
    write,
)
from conrec.features.item_features import FeatureWeights
from conrec.report.html import render
from conrec.stages.report import report
from tests.evaluate.run_folder import (
    EVIL,
    EVIL_USER,
    difference,
    figure,
    filter_figures,
    metrics,
    write_json,
    write_run,
)
from tests.jobs import job

pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """Tags with their attributes, and the visible text."""

    VOID = frozenset({"meta", "link", "img", "br", "rect", "circle", "path", "line", "use"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self._open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if "style" not in self._open:
            self.text += " " + data

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.tags if tag == name]

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("report") / "run")
    report(job(folder, "report", Recipe()))
    return folder


@pytest.fixture(scope="module")
def html(run: Path) -> str:
    return (run / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def with_metrics(folder: Path, **changed) -> Page:
    """A page from nothing but metrics.json."""
    write(folder / "metrics.json", replace(metrics(), **changed))
    return Page(render(folder))


def test_asks_nobody_for_anything(page: Page, html: str):
    for tag, attrs in page.tags:
        assert tag not in ("script", "iframe", "object", "embed", "base", "form"), tag
        assert not [a for a in attrs if a.startswith("on")], (tag, attrs)
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            if value := attrs.get(name):
                assert value.startswith(("data:", "#")), (tag, value)
        assert "url(" not in (attrs.get("style") or "")
    style = re.search(r"<style>(.*?)</style>", html, re.S).group(1)
    assert "url(" not in style
    assert "@import" not in style
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert len(html) < 1_000_000


def test_strangers_text_stays_text(page: Page, html: str):
    assert EVIL not in html
    assert EVIL_USER not in html
    assert EVIL in page.text
    assert EVIL_USER in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "\u202e" not in html


def test_the_name_of_the_data_is_escaped_too(tmp_path: Path):
    page = with_metrics(tmp_path, dataset=EVIL, systems={EVIL: {"FHR@20": figure(0.2)}, **metrics().systems})
    assert page.all("script") == []
    assert page.words.count(EVIL) >= 2


def test_readable_without_eyes_or_mouse(page: Page):
    ids = [attrs["id"] for _, attrs in page.tags if attrs.get("id")]
    assert len(ids) == len(set(ids))
    for _, attrs in page.tags:
        for name in ("aria-labelledby", "aria-describedby"):
            assert set((attrs.get(name) or "").split()) <= set(ids)
    links = [a["href"][1:] for a in page.all("a")]
    assert set(links) <= set(ids)
    assert page.all("html")[0]["lang"] == "en"
    assert {"header", "nav", "main", "footer"} <= {tag for tag, _ in page.tags}
    assert len(page.all("caption")) == len(page.all("table")) > 8
    assert all("alt" in image for image in page.all("img"))
    assert all(a.get("role") == "img" or a.get("class") or a.get("viewbox") for a in page.all("svg"))
    assert all(r.get("tabindex") == "0" and r.get("aria-label") for _, r in page.tags if r.get("role") == "region")
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))


def test_headline(page: Page):
    words = page.words.replace("\u202f", " ")
    assert "CoNRec is ahead of the best trivial baseline (popularity 14d) by 4.1 points" in words
    assert "34.5 %" in words
    assert "61.2 %" in words
    assert "CoNRec reaches 56 % of it" in words
    assert "30.9 % of the dislikes" in words
    assert "2.0 % of what would have been liked" in words


def test_the_headline_compares_with_the_best_of_all_others_whatever_its_name(tmp_path: Path):
    systems = metrics().systems | {"co_dislikes+prior": {"FHR@20": figure(0.33)}}
    words = with_metrics(tmp_path, systems=systems).words
    assert "best trivial baseline (co dislikes+prior)" in words


def test_the_headline_is_of_lists_as_long_as_the_runs(tmp_path: Path):
    systems = {"popularity_14d": {"HR@5": figure(0.1), "FHR@5": figure(0.2)}, "conrec": {"FHR@5": figure(0.4)}}
    page = with_metrics(tmp_path, systems=systems, comparisons={"popularity_14d": {"FHR@5": difference(0.2)}})
    assert "CoNRec is ahead of the best trivial baseline (popularity 14d) by 20.0 points" in page.words
    assert "best FHR@5 first" in page.words


@pytest.mark.parametrize(
    ("paired", "said"),
    [
        (difference(0.01), "not significantly different"),
        (difference(-0.05), "CoNRec is behind the best trivial baseline (popularity 14d) by 5.0"),
        (Difference(None, (None, None), "not significant", 0), "No paired comparison"),
    ],
)
def test_headline_does_not_flatter(tmp_path: Path, paired, said):
    page = with_metrics(tmp_path, comparisons={"popularity_14d": {"FHR@20": paired}})
    assert said in page.words
    assert "ahead of" not in page.words


def test_not_significant_is_marked_where_the_interval_holds_zero(page: Page):
    comparisons = [one for system in metrics().comparisons.values() for one in system.values()]
    expected = sum(one.ci95[0] <= 0 <= one.ci95[1] for one in comparisons)
    assert 0 < expected < len(comparisons)
    assert len(page.all("abbr")) == expected


def test_what_is_significantly_ahead_is_named_be_it_simple_or_a_part_of_ours(tmp_path: Path):
    none = "No simple system and no part of CoNRec (an item feature by itself) does significantly better"
    behind = {"HR@20": difference(0.05), "Recall@20": difference(-0.05), "CandAcc_filter": difference(-0.05)}
    level = {"conrec_prior": behind, "oracle": {"HR@20": difference(-0.2)}, "bias": {"FHR@20": difference(-0.01)}}
    words = with_metrics(tmp_path, comparisons=level).words
    assert none in words
    assert "Significantly better than CoNRec" not in words
    broken = {"conrec_prior": behind | {"CandAcc": difference(-0.05)}, "co_dislikes": {"LIF@10": difference(-0.03)}}
    words = with_metrics(tmp_path, comparisons=level | broken).words
    assert "Significantly better than CoNRec : conrec prior in CandAcc, co dislikes in LIF@10. A combination" in words
    assert none not in words


def test_the_filters_that_are_not_significantly_beaten_are_named(tmp_path: Path):
    def words(**verdicts: tuple[str, str, str]) -> str:
        differences = {
            system: {budget: Difference(0.0, (0.0, 0.0), one) for budget, one in zip(("0.01", "0.02", "0.05"), each)}
            for system, each in verdicts.items()
        }
        return with_metrics(tmp_path, filter=replace(replay, comparison=FilterComparison({}, differences, None))).words

    replay = metrics().filter
    better = ("better", "better", "better")
    undecided = ("not significant", "not significant", "better")
    assert "significantly more than every other filter at 1, 2 and 5 % of the likes lost." in words(
        bias=better, conrec_paper=undecided
    )
    assert "but not than boosted at 1 %, 2 % (not significant); item rate at 5 % (significantly fewer)." in words(
        bias=better, conrec_paper=undecided, boosted=undecided, item_rate=("better", "better", "worse")
    )
    # Of a part of ours that it is level with nothing is said, but it must not be ahead.
    ahead = words(conrec_paper=("worse", "better", "better"))
    assert "but not than conrec paper at 1 % (significantly fewer)." in ahead


def test_how_well_probabilities_are_calibrated(page: Page, tmp_path: Path):
    assert "is off by 1.2 % on test" in page.words
    assert "Share that was disliked, by predicted probability of a dislike" in page.words
    without = with_metrics(tmp_path, filter=replace(metrics().filter, reliability=None))
    assert "expected calibration error" not in without.words


def test_a_better_filter_is_named(tmp_path: Path):
    words = with_metrics(tmp_path).words
    assert "the best other filter (bias)" in words
    assert "by this figure that filter is the better one" in words
    replay = metrics().filter
    weaker = replace(replay, systems=replay.systems | {"bias": filter_figures(0.9)})
    assert "that filter is the better one" not in with_metrics(tmp_path, filter=weaker).words


def test_data_that_does_not_add_up_is_said(run: Path, page: Page, tmp_path: Path):
    assert "does not add up" not in page.words
    write(tmp_path / "metrics.json", metrics())
    write_json(tmp_path / "prepare" / "accounting.json", {"read": 10, "kept": 8, "dropped": {"no time": 1}})
    assert "does not add up" in Page(render(tmp_path)).words


def test_the_weights_of_the_item_features(run: Path, tmp_path: Path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    chosen = FeatureWeights(0.0, 0.0, 2.0, 0.75, 0.0, 1.0, 0.5, 0.25, 4.0, 3)
    tuning = chosen._asdict()
    tuning["backtest_FHR"] = {"cases": 900, "together": 0.3529, "alone": {"prior": 0.2119, "exposure": 0.1}}
    tuning |= {"candidates": {"policy": 0.1234, "prior": -0.5, "attribute": 1.5}, "validation_CandAcc": 0.4321}
    tuning["exposures"] = {"met, 7 days": 0.02, "met, 28 days": 1e-6, "liked, 7 days": 0.107}
    (folder / "predict" / "seed3").mkdir()
    write_json(folder / "predict" / "seed3" / "tuning.json", tuning)
    words = Page(render(folder)).words
    heads = "policy prior content similarity co dislike score ease sequence exposure attribute propensity "
    heads += "long tail best alone together"
    assert f"{heads} 3 lists 0.25 0 0 2 0.75 0 1 0.5 0.25 3 0.212 0.353" in words
    assert "3 candidates 0.123 -0.5 0 0 0 0 0 1.5 0 0 – 0.432" in words
    assert "decays over the days named: 0.107 (liked, 7 days); 0.020 (met, 7 days)." in words
    (folder / "predict" / "seed3" / "tuning.json").unlink()
    assert "Item features" not in Page(render(folder)).words


def test_stages_versions_and_recipe(page: Page):
    for words in ("utilize 0 305.7 1 480", "All 479.5", "torch 2.13.0", "users = 2000 # <b>"):
        assert words in page.words.replace("\u202f", " ")


def test_any_number_of_training_stages(run: Path, tmp_path: Path):
    """A recipe may have a fourth stage, or none."""
    shutil.copytree(run, tmp_path / "run")
    page = tmp_path / "run"
    shutil.copytree(page / "utilize" / "seed0" / "stage3", page / "utilize" / "seed0" / "stage10")
    found = read(page / "metrics.json", Metrics)
    tenth = found.stages | {"stage10": StageFigures({"FHR@20": figure(0.377)}, {})}
    write(page / "metrics.json", replace(found, stages=tenth))
    words = Page(render(page)).words
    assert "stage 10 – – – – 0.377 0.357–0.397" in words
    assert "stage 10, train: from" in words
    only = {"warmup": found.stages["warmup"]}
    write(page / "metrics.json", replace(found, stages=only, validation=replace(found.validation, stages=only)))
    for folder in (page / "utilize" / "seed0").glob("stage*"):
        shutil.rmtree(folder)
    words = Page(render(page)).words
    assert "warm-up" in words
    assert "stage 1" not in words


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("metrics.json", "There are no results yet"),
        ("utilize", "Understanding the IDs"),
        ("compress/quality.json", "There is no quality report of the IDs"),
        ("prepare/accounting.json", "How instances were cut out of the log"),
        ("prepare/instances.parquet", "No users can be shown"),
        ("predict", "No users can be shown"),
        ("recipe.toml", "The run has no recipe.toml"),
    ],
)
def test_what_is_missing_costs_its_section_only(run: Path, tmp_path: Path, gone: str, said: str):
    shutil.copytree(run, tmp_path / "run")
    target = tmp_path / "run" / gone
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    page = Page(render(tmp_path / "run"))
    assert said in page.words
    assert len(page.all("section")) == 8


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"systems": {}}, "No system was measured"),
        ({"comparisons": {}}, "No paired comparison"),
        ({"stages": {}, "validation": replace(metrics().validation, stages={})}, "There are no training curves"),
        ({"filter": None}, "The filter was not replayed"),
        ({"validity": None}, "All systems"),
    ],
)
def test_metrics_without_a_part(tmp_path: Path, changed: dict[str, Any], said: str):
    assert said in with_metrics(tmp_path, **changed).words


def test_figures_that_could_not_be_measured(tmp_path: Path):
    """A small data set: no instance counts, or the replay saw no dislike."""
    nothing, empty = figure(None), FilterFigures(exposures=3, dislikes=0, likes=3, rate_before=0.0)
    words = with_metrics(
        tmp_path,
        systems={"conrec": {"FHR@20": nothing, "HR@20": figure(0.1)}, "popularity_14d": {"FHR@20": nothing}},
        validity=Validity(None, None, None),
        filter=replace(metrics().filter, systems={"conrec": empty, "bias": empty}),
    ).words
    assert "None" not in words
    assert "nan" not in words


def test_not_a_run(tmp_path: Path):
    with pytest.raises(ConrecError, match="there is no such run folder"):
        report(job(tmp_path / "gone", "report", Recipe()))
    with pytest.raises(ConrecError, match="nothing to report"):
        report(job(tmp_path, "report", Recipe()))


@pytest.mark.parametrize("text", ["{broken", "[1, 2]", "\udcff"])
def test_damaged_json_is_named(tmp_path: Path, text: str):
    (tmp_path / "metrics.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConrecError, match=r"metrics\.json: ") as error:
        report(job(tmp_path, "report", Recipe()))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "report.html").exists()


def test_same_run_same_page(run: Path, html: str):
    report(job(run, "report", Recipe()))
    assert (run / "report.html").read_text(encoding="utf-8") == html
    assert not list(run.glob("*.partial"))


def test_partial_stages_are_not_counted(run: Path, tmp_path: Path):
    shutil.copytree(run, tmp_path / "run")
    manifest = replace(read(run / "prepare" / "manifest.json", StageManifest), seconds=1e6)
    (tmp_path / "run" / "filter" / "seed0.partial").mkdir(parents=True)
    write(tmp_path / "run" / "filter" / "seed0.partial" / "manifest.json", manifest)
    assert "All 479.5" in Page(render(tmp_path / "run")).words


@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_real_browser(run: Path, width: int):
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": width, "height": 800})
        asked: list[str] = []
        said: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("dialog", lambda dialog: said.append(dialog.message))
        tab.goto((run / "report.html").as_uri())
        tab.wait_for_load_state("networkidle")
        assert [url for url in asked if not url.startswith("data:")] == [(run / "report.html").as_uri()]
        assert said == []
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert tab.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.className") == "skip"
        browser.close()


def test_what_systems_see_of_a_simulated_platform_is_said(run: Path, tmp_path: Path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    for settings, said in (
        ('[data]\nadapter = "simulated"\n', "every system sees title, picture, and category, and none of these."),
        ('[data]\nadapter = "simulated"\n[simulate]\nattribute_columns = true\n', "and these too, as columns."),
    ):
        (folder / "recipe.toml").write_text(settings)
        assert said in Page(render(folder)).words
    (folder / "recipe.toml").write_text('[data]\nadapter = "generic"\n')
    assert "The simulated platform" not in Page(render(folder)).words
