"""The page in Debian's Chromium: what a person with a mouse, a keyboard, a screen reader or a phone gets."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conrec.filter.filter import CoNRecFilter
from tests.filter.published import RandomScore
from tests.serve.small import (
    EVIL,
    EVIL_IMAGE,
    EVIL_USER,
    IDS,
    TITLES,
    Client,
    publish,
    serving,
    wait_for_page,
    write_run,
)

WIDE, NARROW = 1280, 360
ANN = "#/users/ann"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("page")
    run = write_run(folder / "run")
    publish(folder / "snapshots")
    with serving(folder / "snapshots", run=run) as client:
        wait_for_page(client)
        yield client


class Tab:
    """A page that remembers what it asked for and what went wrong."""

    def __init__(self, browser: Any, client: Client, width: int = WIDE, scheme: str = "light", **more: Any) -> None:
        self._context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce", **more
        )
        self.page = self._context.new_page()
        self.home = f"http://127.0.0.1:{client.port}/"
        self.asked: list[str] = []
        self.said: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))

    def open(self, place: str = "") -> Any:
        self.page.goto(self.home + place)
        self.ready()
        return self.page

    def ready(self) -> None:
        self.page.wait_for_selector("#content:not([aria-busy]) h1")
        self.page.wait_for_load_state("networkidle")

    def __enter__(self) -> Tab:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._context.close()
        if kind is None:
            assert self.said == []
            assert [url for url in self.asked if not url.startswith(self.home)] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("place", ["", ANN, "#/users/bob", "#/users/nobody", "#/catalogue/0.1", "#/report"])
def test_every_view_is_whole_readable_and_told(
    browser: Any, client: Client, place: str, width: int, scheme: str
) -> None:
    with Tab(browser, client, width, scheme) as tab:
        page = tab.open(place)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate("[...document.images].every(i => i.loading === 'lazy' || i.naturalWidth > 0)")
        problems = page.evaluate(ACCESSIBILITY)
        assert problems == []


ACCESSIBILITY = """() => {
  const problems = [];
  const say = (what, element) => problems.push(`${what}: ${element.outerHTML.slice(0, 120)}`);
  const seen = (e) => e.checkVisibility({ visibilityProperty: true }) && e.getClientRects().length > 0;
  const onlyRead = (e) => e.closest(".only-read, .skip");

  // Names of what can be operated, and ids that references lead to.
  for (const e of document.querySelectorAll("a[href], button, input, select, iframe, [role=region], section, dialog")) {
    if (!seen(e)) continue;
    const labelled = (e.getAttribute("aria-labelledby") ?? "").split(" ").filter(Boolean);
    for (const id of labelled) if (!document.getElementById(id)) say("label that is not there", e);
    const label = e.getAttribute("aria-label") || labelled.length || e.title || e.labels?.length;
    if (!label && !e.textContent.trim()) say("no name", e);
    if (e.matches("section, [role=region]") && !label) say("region without a name", e);
  }
  for (const e of document.querySelectorAll("[aria-controls]"))
    if (!document.getElementById(e.getAttribute("aria-controls"))) say("controls nothing", e);
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  if (new Set(ids).size < ids.length) problems.push(`an id twice among ${ids}`);
  for (const e of document.querySelectorAll("img")) if (!e.hasAttribute("alt")) say("no alt", e);
  for (const e of document.querySelectorAll("svg:not([role=img], [aria-hidden=true])")) say("no role", e);
  if (document.documentElement.lang !== "en") problems.push("no language");

  // One h1, and no level left out.
  const levels = [...document.querySelectorAll("h1, h2, h3, h4")].filter(seen).map((e) => Number(e.tagName[1]));
  if (levels[0] !== 1 || levels.filter((n) => n === 1).length !== 1) problems.push(`headings ${levels}`);
  levels.forEach((n, k) => k && n > levels[k - 1] + 1 && problems.push(`heading level left out: ${levels}`));

  // Contrast of all text against what lies behind it (WCAG 2.2, 1.4.3: 4.5, or 3 for large text).
  const channels = (text) => {
    const numbers = text.match(/[\\d.]+/g).map(Number);
    return numbers.length === 4 ? numbers : [...numbers, 1];
  };
  const over = (top, below) => [0, 1, 2].map((k) => top[k] * top[3] + below[k] * (1 - top[3])).concat(1);
  const light = (c) =>
    [0.2126, 0.7152, 0.0722].reduce((sum, weight, k) => {
      const v = c[k] / 255;
      return sum + weight * (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    }, 0);
  const behind = (e) => {
    const layers = [];
    for (let at = e; at; at = at.parentElement) layers.push(channels(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let texts = 0;
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !seen(e) || onlyRead(e) || e.closest("noscript, title")) continue;
    const style = getComputedStyle(e);
    const below = behind(e);
    const colour = over(channels(e.closest("svg") ? style.fill : style.color), below);
    const [a, b] = [light(colour), light(below)].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < (large ? 3 : 4.5)) say(`contrast ${contrast.toFixed(2)}`, e);
    if (size < 11) say(`text of ${size} pixels`, e);
    texts += 1;
  }
  if (texts < 5) problems.push(`only ${texts} texts were looked at`);

  // What is touched is large enough (WCAG 2.2, 2.5.8), links in a sentence aside.
  for (const e of document.querySelectorAll("button, input, nav a, .chips a")) {
    const box = e.getBoundingClientRect();
    if (seen(e) && (box.width < 24 || box.height < 24)) say(`only ${box.width} x ${box.height}`, e);
  }
  return problems;
}"""


def test_the_checks_themselves_find_what_is_wrong(browser: Any, client: Client) -> None:
    with Tab(browser, client) as tab:
        page = tab.open()
        page.evaluate(
            """() => {
              const add = (tag, change) => document.querySelector("main").append(
                Object.assign(document.createElement(tag), change));
              add("img", {});
              add("button", {});
              add("h4", { textContent: "too deep" });
              const pale = Object.assign(document.createElement("p"), { textContent: "pale" });
              pale.style.color = "#c8c8c8";
              document.querySelector("main").append(pale);
            }"""
        )
        found = " ".join(page.evaluate(ACCESSIBILITY))
        for problem in ("no alt", "no name", "heading level left out", "contrast 1."):
            assert problem in found


def test_strangers_text_stays_text(browser: Any, client: Client) -> None:
    with Tab(browser, client) as tab:
        page = tab.open(ANN)
        assert page.get_by_text(EVIL, exact=True).count() >= 1
        assert page.get_by_text(EVIL_IMAGE, exact=True).count() >= 1
        page = tab.open("#/users/" + "eve%2F%3Cb%3E%26%3F%23")
        assert page.locator("h1").inner_text() == f"User {EVIL_USER}"
        tab.open("#/catalogue/0.0")
        page.wait_for_selector(".inside .card")
        assert page.locator(".inside", has_text=EVIL).count() >= 1
        assert page.evaluate("document.querySelectorAll('main script, main img[onerror], main b b').length") == 0


def test_why_is_told_in_words(browser: Any, client: Client, tmp_path: Path) -> None:
    with Tab(browser, client) as tab:
        page = tab.open(ANN)
        told = page.locator(".cards.hidden > li .words")
        assert told.nth(0).inner_text() == f"what it is as a whole (they disliked {EVIL}) +1.00"
        assert told.nth(2).inner_text() == f"what it is as a whole (they disliked {EVIL_IMAGE}) +0.97"
        expected = page.get_by_role("listitem").filter(has_text="because of").all_inner_texts()
        assert [title in text for title, text in zip((EVIL, EVIL_IMAGE), expected, strict=True)] == [True, True]
    known = RandomScore()
    known.publish(tmp_path)
    with serving(tmp_path, threshold=-1000.0) as other:
        wait_for_page(other)
        with Tab(browser, other) as tab:
            page = tab.open("#/users/u9")
            assert page.evaluate(ACCESSIBILITY) == []
            assert page.evaluate("document.querySelectorAll('.words b b').length") == 0  # titles are strangers' text
            told = dict(page.evaluate(BY_TITLE))
        why = other.filter("u9", known.items.ids)["why"]
    said = {"user": "this user dislikes often", "item": "disliked by others", "content": "what it is as a whole"}
    said["latent"] = "disliked by people of like taste"
    assert len(told) == 30
    for title, words in told.items():
        parts = []
        own = why[known.items.ids[known.items.titles.index(title)]]
        for one in own["contributions"]:
            past = f" (they disliked {one['past_title']})" if one["past_item"] else ""
            name = said.get(one["kind"]) or one["name"].removeprefix("trait: ")
            parts.append((name + past, one["amount"]))
        rejected = "rejected before; " if own["rejected_item"] else ""
        assert words == rejected + ", ".join(f"{name} +{amount:.2f}" for name, amount in parts)
    assert any("(they disliked Title <b>" in words for words in told.values())


BY_TITLE = """[...document.querySelectorAll(".cards.hidden > li")].map((card) =>
  [card.querySelector(".title").textContent, card.querySelector(".words").textContent])"""


def test_from_the_start_to_a_user_by_keyboard_alone(browser: Any, client: Client) -> None:
    with Tab(browser, client) as tab:
        page = tab.open()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        field = page.get_by_role("combobox", name="Find a user")
        for _ in range(12):
            page.keyboard.press("Tab")
            if field.evaluate("e => e === document.activeElement"):
                break
        page.keyboard.type("a")
        page.get_by_role("option", name="ann").wait_for()
        assert field.get_attribute("aria-expanded") == "true"
        page.keyboard.press("ArrowDown")
        active = field.get_attribute("aria-activedescendant")
        assert page.locator(f"#{active}").get_attribute("aria-selected") == "true"
        page.keyboard.press("Escape")
        assert field.get_attribute("aria-expanded") == "false"
        page.keyboard.press("ArrowDown")
        page.get_by_role("option", name="ann").wait_for()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="User ann").wait_for()
        tab.ready()
        assert page.evaluate("document.activeElement.tagName") == "H1"
        assert page.title() == "User ann · CoNRec"
        slider = page.get_by_role("slider", name="Threshold")
        slider.focus()
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        page.keyboard.press("Home")
        page.get_by_text("2 of 20 candidates hidden").wait_for()  # those that were rejected before


def test_an_id_typed_in_full_needs_no_choosing(browser: Any, client: Client) -> None:
    with Tab(browser, client) as tab:
        page = tab.open()
        field = page.get_by_role("combobox")
        field.fill("bob")
        field.press("Enter")
        page.get_by_role("heading", name="User bob").wait_for()
        tab.ready()
        assert page.get_by_text("Tried on a random sample").count() == 1


def test_the_slider_moves_the_curve_and_the_list(browser: Any, client: Client) -> None:
    with Tab(browser, client) as tab:
        page = tab.open(ANN)
        summary = page.locator(".summary")
        slider = page.get_by_role("slider", name="Threshold")
        # i0, i1, i5, i6 and i7 of the twenty that were shown, of which i0 and i6 were disliked and i5 was liked.
        assert summary.inner_text() == (
            "5 of 20 candidates hidden; 2 of them because they were rejected before; "
            "2 of the 3 they then disliked; 1 of the 2 they then liked."
        )
        assert "avoids 66.7 percent of the dislikes, loses 50.0 percent" in slider.get_attribute("aria-valuetext")
        assert page.locator(".cards.hidden > li").count() == 5
        assert page.locator(".cards.hidden > li .codes").count() == 5
        reset = page.get_by_role("button", name="Back to the threshold in use")
        assert not reset.is_visible()
        before = page.locator(".dot").get_attribute("cx")
        slider.focus()
        page.keyboard.press("Home")
        page.get_by_text("2 of 20 candidates hidden").wait_for()  # those that were rejected before
        assert page.locator(".dot").get_attribute("cx") != before
        assert "avoids 0.0 percent" in slider.get_attribute("aria-valuetext")
        page.keyboard.press("End")
        # Everything scores over the lowest threshold, but at most half of a list goes for that.
        page.get_by_text("12 of 20 candidates hidden").wait_for()
        assert "kept by the limit, so that enough remain" in summary.inner_text()
        reset.click()
        page.get_by_text("5 of 20 candidates hidden").wait_for()
        assert slider.evaluate("e => e === document.activeElement")


def test_the_list_is_tried_demoted_and_on_a_surface_by_keyboard(browser: Any, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    publish(tmp_path / "snapshots", surfaces={"home": 0.6})
    (tmp_path / "surfaces.toml").write_text('[mail]\nmode = "demote"\n')
    with serving(tmp_path / "snapshots", run=run, surfaces=tmp_path / "surfaces.toml") as client:
        wait_for_page(client)
        with Tab(browser, client, NARROW) as tab:
            page = tab.open(ANN)
            titles = page.locator(".cards.kept .title")
            slider = page.get_by_role("slider", name="Threshold")
            given = titles.all_inner_texts()
            drop = page.get_by_role("group", name="What a high score does").get_by_role("radio", name="Drop")
            assert drop.is_checked()
            drop.focus()
            page.keyboard.press("ArrowDown")
            page.get_by_text("2 of 20 candidates hidden").wait_for()  # those that were rejected before
            assert "the rest is in a new order" in page.locator(".summary").inner_text()
            assert not slider.is_visible()
            order = client.filter("ann", IDS[:20], mode="demote")["kept"]
            assert titles.all_inner_texts() == [TITLES[IDS.index(item)] for item in order]
            # i15 is 90 degrees and more from both: its score is that of 135, and odds are three times it.
            assert page.get_by_text("10.7\u202f% likely disliked").count() == 1
            assert page.evaluate(ACCESSIBILITY) == []
            page.keyboard.press("ArrowUp")
            page.get_by_text("5 of 20 candidates hidden").wait_for()
            assert titles.all_inner_texts() == given
            assert not page.locator(".chance").first.is_visible()
            surface = page.get_by_role("combobox", name="Surface")
            assert surface.locator("option").all_inner_texts()[1:] == ["home", "mail"]
            surface.focus()
            page.keyboard.press("h")  # the first that begins so
            page.get_by_text("10 of 20 candidates hidden").wait_for()
            assert page.locator(".control output").inner_text() == "0.600"
            assert surface.evaluate("e => e === document.activeElement")
            assert page.evaluate(ACCESSIBILITY) == []
            page.keyboard.press("m")
            page.get_by_text("2 of 20 candidates hidden").wait_for()
            assert page.get_by_role("radio", name="Demote").is_checked()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_window_that_becomes_narrow_holds_the_panel(browser: Any, client: Client) -> None:
    with Tab(browser, client, 900) as tab:
        page = tab.open(ANN)
        wide = page.locator(".chart svg").bounding_box()["width"]
        page.set_viewport_size({"width": NARROW, "height": 900})
        # Not `wait_for_function`, which asks again by `eval`, and the page's policy forbids that.
        for _ in range(100):
            if page.evaluate("document.querySelector('.chart svg').clientWidth < innerWidth"):
                break
            page.wait_for_timeout(100)
        assert page.locator(".chart svg").bounding_box()["width"] < wide
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_dislike_is_taken_back_after_a_question(browser: Any, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    publish(tmp_path / "snapshots")
    with serving(tmp_path / "snapshots", run=run) as client:
        wait_for_page(client)
        with Tab(browser, client) as tab:
            page = tab.open(ANN)
            button = page.get_by_role("button", name=f"Take back the dislike of {EVIL_IMAGE}")
            button.click()
            question = page.get_by_role("dialog", name="Take this dislike back?")
            question.get_by_role("button", name="Cancel").click()
            assert button.evaluate("e => e === document.activeElement")
            button.click()
            page.keyboard.press("Escape")
            assert question.count() == 0
            assert client.filter("ann", ["i7", "i12"])["never_again"] == ["i7"]
            button.click()
            question.get_by_role("button", name="Take back").click()
            page.get_by_text("The dislike was taken back.").wait_for()
            tab.ready()
            assert page.get_by_text("taken back", exact=True).count() == 1
            assert page.locator(".summary").inner_text().startswith("5 of 20 candidates hidden; 1 of them because")
            assert client.filter("ann", ["i7", "i12"])["never_again"] == []
            page.get_by_role("button", name=f"Dislike {EVIL_IMAGE} again").press("Enter")
            page.get_by_text("The dislike counts again.").wait_for()
            tab.ready()
            assert page.get_by_text("taken back", exact=True).count() == 0
            assert client.filter("ann", ["i7", "i12"])["never_again"] == ["i7"]


def test_what_is_disliked_on_the_page_is_hidden_at_once(browser: Any, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    publish(tmp_path / "snapshots")
    with serving(tmp_path / "snapshots", run=run) as client:
        wait_for_page(client)
        with Tab(browser, client, NARROW) as tab:
            page = tab.open(ANN)
            summary = page.locator(".summary")
            assert summary.inner_text().startswith(
                "5 of 20 candidates hidden; 2 of them because they were rejected before"
            )
            page.get_by_role("button", name="Not interested in Canvas shoe no. 12, low").press("Enter")
            page.get_by_text("Disliked: it is hidden from now on").wait_for()
            tab.ready()
            assert summary.inner_text().startswith("6 of 20 candidates hidden; 3 of them")
            hidden = page.get_by_role("list", name="Hidden").get_by_role("listitem")
            assert hidden.filter(has_text="no. 12").filter(has_text="rejected before").count() == 1
            assert hidden.filter(has_text="no. 12").get_by_role("button", name="Not interested").count() == 0
            # One that the snapshot does not know, by keyboard: taken back, and that undone.
            client.post("/v1/users/ann/dislikes", {"item": "brand new"})
            page.reload()
            tab.ready()
            page.get_by_role("button", name="Take back the dislike of brand new").press("Enter")
            page.get_by_role("dialog").get_by_role("button", name="Take back", exact=True).press("Enter")
            again = page.get_by_role("button", name="Dislike brand new again")
            again.wait_for()
            assert page.evaluate(ACCESSIBILITY) == []
            assert client.filter("ann", ["brand new", "i13"])["never_again"] == []
            again.press("Space")
            page.get_by_text("The dislike counts again.").wait_for()
        assert client.filter("ann", ["i12", "i13", "brand new"])["never_again"] == ["i12", "brand new"]


def test_a_word_is_muted_by_keyboard_and_back(browser: Any, tmp_path: Path) -> None:
    publish(tmp_path)
    with serving(tmp_path) as client, Tab(browser, client, NARROW) as tab:
        wait_for_page(client)
        page = tab.open(ANN)
        page.get_by_label("What to mute").fill("canvas")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Unmute “canvas”").wait_for()
        assert page.locator("#status").inner_text() == "canvas is muted: it is hidden from now on."
        assert client.get("/v1/users/ann/mutes")["mutes"] == [{"kind": "word", "name": "canvas"}]
        assert "because of what is muted" in page.locator(".summary").inner_text()
        assert "muted: “canvas”" in page.locator(".cards.hidden").inner_text()
        assert page.evaluate(ACCESSIBILITY) == []
        page.get_by_role("button", name="Unmute “canvas”").focus()
        page.keyboard.press("Space")
        page.get_by_text("Nothing yet.").wait_for()
        assert "because of what is muted" not in page.locator(".summary").inner_text()
        page.get_by_label("Mute a").select_option("Category")
        page.get_by_label("What to mute").fill("boots")
        page.get_by_role("button", name="Mute", exact=True).click()
        page.get_by_role("alert").filter(has_text="no item has the category 'boots'").wait_for()
        tab.said.clear()  # the browser tells of the 422


def test_what_is_disliked_again_and_again_is_suggested(browser: Any, tmp_path: Path) -> None:
    known = RandomScore()
    disliked = [row for row in range(3, 60) if "t3" in known.fields[row]["trait"].split("|")][:4]
    known.publish_history(tmp_path, disliked, dict.fromkeys(range(60), 1))
    loaded = CoNRecFilter.load(tmp_path)
    asked = next(user for user in known.users.ids if loaded.user(user).suggestions)
    one = loaded.user(asked).suggestions[0]
    with serving(tmp_path) as client, Tab(browser, client) as tab:
        wait_for_page(client)
        page = tab.open(f"#/users/{asked}")
        text = one.mute.name.removeprefix("trait: ")
        assert f"{one.dislikes} of {one.of} dislikes are {text}" in page.locator("main").inner_text()
        assert page.evaluate(ACCESSIBILITY) == []
        page.get_by_role("button", name=f"Mute {text}", exact=True).press("Enter")
        page.get_by_role("button", name=f"Unmute {text}", exact=True).wait_for()
        assert loaded.user(asked).mutes == [one.mute]


def test_the_tree_unfolds_by_keyboard(browser: Any, client: Client) -> None:
    with Tab(browser, client) as tab:
        page = tab.open("#/catalogue")
        node = page.get_by_role("button", name="a1").first
        node.focus()
        assert node.get_attribute("aria-expanded") == "false"
        page.keyboard.press("Enter")
        inner = page.get_by_role("button", name="a1 b0")
        inner.wait_for()
        assert node.get_attribute("aria-expanded") == "true"
        inner.press("Enter")
        page.get_by_role("list", name="Items under a1 b0").wait_for()
        assert page.get_by_role("list", name="Items under a1 b0").get_by_role("listitem").count() == 4
        page.keyboard.press("Enter")
        assert not page.get_by_role("list", name="Items under a1 b0").is_visible()
        field = page.get_by_role("combobox", name="Find an item")
        field.fill("no. 21")
        page.get_by_role("option").first.wait_for()
        field.press("ArrowDown")
        field.press("Enter")
        page.get_by_role("list", name="Items under a2 b1").wait_for()
        tab.ready()


def test_the_report_is_in_a_frame_without_scripts(browser: Any, client: Client) -> None:
    with Tab(browser, client) as tab:
        page = tab.open("#/report")
        frame = page.locator("iframe")
        assert frame.get_attribute("sandbox") == ""
        assert frame.content_frame.get_by_text("The report").count() == 1


def test_without_a_run_or_a_set_the_page_says_so(browser: Any, tmp_path: Path) -> None:
    with serving(tmp_path) as client, Tab(browser, client) as tab:
        page = tab.open()
        assert page.get_by_role("heading", name="No snapshot in use").count() == 1
        assert page.get_by_text("no snapshot was published here yet").count() >= 1
        publish(tmp_path, threshold=None)
        wait_for_page(client)
        page = tab.open(ANN)
        assert page.get_by_text("Tried on a random sample").count() == 1
        assert page.get_by_text("There is no trade-off curve").count() == 1
        assert page.get_by_text("No threshold is set").count() == 1
        assert not page.get_by_role("link", name="Report").is_visible()
        page.get_by_role("slider", name="Threshold").press("End")
        page.get_by_text("14 of 24 candidates hidden").wait_for()
        assert page.evaluate(ACCESSIBILITY) == []


def test_a_dead_service_is_said(browser: Any, tmp_path: Path) -> None:
    publish(tmp_path)
    with serving(tmp_path) as client:
        wait_for_page(client)
        tab = Tab(browser, client)
        page = tab.open()
    page.get_by_role("link", name="Catalogue").click()
    page.get_by_role("heading", name="This did not work").wait_for()
    assert page.get_by_role("alert").count() == 1
