// What the filter would do to a user's candidates: the threshold, its trade-off, and the list that changes with it.

import { dislike, get, post } from "./api.js";
import { count, day, h, name, newId, percent } from "./dom.js";
import { card, codes } from "./items.js";
import { ruleText } from "./mutes.js";
import { tradeOff } from "./tradeoff.js";

const WHERE = {
  shown: (c) => `Tried on what this user was really shown from ${day(c.since)} to ${day(c.until)}, with what they then did.`,
  sample: () => "Tried on a random sample of the items: what was really shown to this user is not known (with --run, it is of the run's users).",
};
const FIRST = 30; // cards of a list that are shown at once
const MODES = { drop: "Drop: it is hidden", demote: "Demote: it comes later" };
const OUTCOME = { disliked: "then disliked", liked: "then liked" };

// Thresholds from the mildest to the strictest: those that were measured, else evenly over the scores at hand.
function stops(measured, scores, chosen) {
  const known = scores.filter((score) => score !== null);
  const low = Math.min(0, ...known);
  const high = Math.max(0, ...known);
  const evenly = Array.from({ length: 101 }, (_, n) => high - ((high - low) * n) / 100);
  const all = [...(measured ? measured.curve.threshold : evenly), ...(chosen === null ? [] : [chosen])];
  return [...new Set(all)].sort((a, b) => b - a);
}

const digits = (threshold) => threshold.toFixed(Math.abs(threshold) < 10 ? 3 : 1);

export async function filtering(user, about, surface = null) {
  const candidates = await get("ui/candidates", { user });
  const ids = candidates.items.map((item) => item.item_id);
  const heading = h("h2", { id: newId("filtering") }, "What the filter does");
  const section = h("section", { class: "panel", "aria-labelledby": heading.id }, heading);
  section.append(h("p", { class: "lead" }, WHERE[candidates.source](candidates)));
  if (candidates.known)
    section.append(h("p", { class: "note" }, "The snapshot was made later and knows what came of it: judge the filter by the curve, not by this list."));
  if (!ids.length) return section;

  // Without a threshold of ours the service decides as it does for the ranker: by one threshold, or one a segment.
  let mode = about.modes[surface ?? ""];
  const decide = (threshold) => post("ui/decide", { user, candidates: ids, threshold, mode, surface });
  const first = await decide(null);
  const promise = about.calibration?.surfaces?.[surface] ?? about.calibration;
  const hasOwn = first.threshold !== null || Boolean(promise?.segments);
  const measured = about.trade_off;
  const chosen = first.threshold ?? measured?.threshold ?? null;
  const values = stops(measured, first.scores, chosen);
  const start = chosen === null ? 0 : values.indexOf(chosen);
  let own = hasOwn;

  const chart = measured && tradeOff(measured);
  const slider = h("input", { type: "range", id: newId("threshold"), min: 0, max: values.length - 1, step: 1, value: start });
  const shownValue = h("output", { for: slider.id });
  const reset = h("button", { type: "button", class: "quiet", hidden: true }, "Back to the threshold in use");
  const said = h("p", { class: "summary", role: "status" });
  const hidden = group("Hidden", "hidden");
  const kept = group("Kept", "kept");

  const cards = candidates.items.map((item) => {
    const verdict = h("span", { class: "verdict", hidden: true }, "Kept by the limit");
    const outcome = item.outcome && h("span", { class: `outcome ${item.outcome}` }, OUTCOME[item.outcome]);
    const chance = h("span", { class: "chance", hidden: true });
    const reason = h("p", { class: "reason" });
    const no = h("button", { type: "button", class: "quiet", "aria-label": `Not interested in ${item.title || item.item_id}` }, "Not interested");
    no.addEventListener("click", () =>
      dislike(user, item.item_id).then(
        () => dispatchEvent(new CustomEvent("changed", { detail: "Disliked: it is hidden from now on, and the others are judged anew." })),
        (error) => reason.replaceChildren(error.message),
      ),
    );
    const element = card(item, { class: "candidate" }, h("span", { class: "tags" }, verdict, outcome, chance), reason, no);
    return { item, element, verdict, chance, reason, no };
  });

  function show(decision) {
    const dropped = new Set(decision.dropped);
    let limited = 0;
    const likely = new Map(ids.map((id, n) => [id, decision.probabilities[n] ?? null]));
    for (const { item, element, verdict, chance, reason, no } of cards) {
      const why = decision.why[item.item_id];
      const must = mode === "drop" ? Boolean(why) : Boolean(why?.rejected_item || why?.muted);
      const mild = must && !dropped.has(item.item_id);
      const p = likely.get(item.item_id);
      chance.hidden = p === null;
      chance.textContent = `${percent(p)} likely disliked`;
      limited += mild;
      verdict.hidden = !mild;
      no.hidden = Boolean(why?.rejected_item || why?.muted);
      element.dataset.state = dropped.has(item.item_id) ? "hidden" : mild ? "limited" : "kept";
      reason.replaceChildren(...(why ? reasonOf(why, item) : []));
    }
    const place = new Map(decision.kept.map((id, n) => [id, n]));
    hidden.fill(cards.filter(({ item }) => dropped.has(item.item_id)).map(({ element }) => element));
    kept.fill(
      cards
        .filter(({ item }) => !dropped.has(item.item_id))
        .sort((a, b) => place.get(a.item.item_id) - place.get(b.item.item_id))
        .map(({ element }) => element),
    );
    const of = (outcome) => {
      const there = cards.filter(({ item }) => item.outcome === outcome);
      return [there.filter(({ element }) => element.dataset.state === "hidden").length, there.length];
    };
    const [badGone, bad] = of("disliked");
    const [goodGone, good] = of("liked");
    const parts = [`${dropped.size} of ${cards.length} candidates hidden`];
    if (decision.never_again.length) parts.push(`${decision.never_again.length} of them because they were rejected before`);
    if (decision.muted.length) parts.push(`${decision.muted.length} because of what is muted`);
    if (bad) parts.push(`${badGone} of the ${bad} they then disliked`);
    if (good) parts.push(`${goodGone} of the ${good} they then liked`);
    if (limited) parts.push(`${limited} kept by the limit, so that enough remain`);
    if (decision.probabilities.length) parts.push("the rest is in a new order: what is likely disliked comes later");
    else if (mode === "demote") parts.push("the rest is in the order given: no probability is known");
    if (decision.fail_open) parts.push(`all pass: ${decision.fail_open}`);
    else if (decision.unknown_user) parts.push("all pass: the snapshot does not know this user");
    else if (decision.exempt) parts.push("all pass: this user is exempt");
    said.textContent = `${parts.join("; ")}.`;
  }

  function tell() {
    const threshold = values[slider.valueAsNumber];
    chart?.set(threshold);
    const now = chart?.now();
    const spoken = now
      ? `${digits(threshold)}: avoids ${(100 * now.dislikes_avoided).toFixed(1)} percent of the dislikes, ` +
        `loses ${(100 * now.likes_lost).toFixed(1)} percent of the likes`
      : digits(threshold);
    slider.setAttribute("aria-valuetext", spoken);
    shownValue.textContent = digits(threshold);
    reset.hidden = !hasOwn || own;
    byThreshold.hidden = mode === "demote";
  }

  // One question at a time: while one is under way only the latest position is remembered.
  let asking = false;
  async function ask() {
    if (asking) return;
    asking = true;
    try {
      let answered;
      const wanted = () => `${mode} ${own || slider.value}`;
      while (answered !== wanted()) {
        answered = wanted();
        const decision = await decide(own ? null : values[slider.valueAsNumber]);
        if (answered === wanted()) show(decision);
      }
    } catch (error) {
      said.textContent = error.message;
    } finally {
      asking = false;
    }
  }

  function move(toOwn) {
    own = toOwn;
    tell();
    ask();
  }
  slider.addEventListener("input", () => move(false));
  reset.addEventListener("click", () => {
    slider.value = start;
    move(true);
    slider.focus();
  });
  const modes = h(
    "fieldset",
    { class: "modes" },
    h("legend", {}, "What a high score does"),
    ...Object.entries(MODES).map(([value, words]) => {
      const radio = h("input", { type: "radio", name: slider.id, value, checked: value === mode });
      radio.addEventListener("change", () => {
        mode = value;
        move(own);
      });
      return h("label", {}, radio, ` ${words}`);
    }),
  );
  const names = Object.keys(about.modes).filter(Boolean);
  const surfaces = h(
    "select",
    { id: newId("surface") },
    h("option", { value: "" }, "any without limits of its own"),
    ...names.map((one) => h("option", { value: one, selected: one === surface }, one)),
  );
  // Another surface has another threshold, so another slider: all of it is made anew, and the focus stays.
  surfaces.addEventListener("change", async () => {
    try {
      const other = await filtering(user, about, surfaces.value || null);
      section.replaceWith(other);
      other.querySelector("select").focus();
      const told = other.querySelector(".summary");
      const words = told.textContent;
      told.textContent = "";
      setTimeout(() => (told.textContent = words), 100); // a change is what a screen reader reads out
    } catch (error) {
      said.textContent = error.message;
    }
  });
  const byThreshold = h(
    "div",
    {},
    h("div", { class: "row" }, h("label", { for: slider.id }, "Threshold"), shownValue),
    slider,
    h("div", { class: "ends", "aria-hidden": "true" }, h("span", {}, "hides little"), h("span", {}, "hides much")),
    h("p", { class: "note" }, calibration(promise, first.threshold)),
    reset,
    chart?.element,
    !measured && h("p", { class: "note" }, "There is no trade-off curve: the service was started without a run that measured it."),
  );
  tell();
  show(first);
  if (!hasOwn && chosen !== null) await ask();

  section.append(
    h(
      "div",
      { class: "split" },
      h(
        "div",
        { class: "control" },
        names.length > 0 && h("p", { class: "surface" }, h("label", { for: surfaces.id }, "Surface"), surfaces),
        modes,
        byThreshold,
      ),
      h("div", { class: "result" }, said, hidden.element, kept.element),
    ),
  );
  return section;
}

// A list of cards with their number in its heading; a long one is shown in part until somebody asks for the rest.
function group(title, className) {
  const number = h("span", { class: "number" });
  const heading = h("h3", { id: newId("group") }, title, " ", number);
  const list = h("ul", { class: `cards ${className}`, "aria-labelledby": heading.id });
  const none = h("p", { class: "note" }, "None.");
  const more = h("button", { type: "button", class: "quiet" });
  let all = [];
  let most = FIRST;
  function draw() {
    number.textContent = count(all.length);
    none.hidden = all.length > 0;
    list.replaceChildren(...all.slice(0, most));
    more.hidden = all.length <= most;
    more.textContent = `Show all ${all.length}`;
  }
  more.addEventListener("click", () => {
    most = Infinity;
    draw();
    heading.tabIndex = -1;
    heading.focus();
  });
  const fill = (elements) => {
    all = elements;
    draw();
  };
  return { element: h("section", { "aria-labelledby": heading.id }, heading, none, list, more), fill };
}

// What raised the score, largest first, each with what it added.
const title = (item, text) => h("b", {}, name(text || item));
const disliked = (one) => (one.past_item ? [" (they disliked ", title(one.past_item, one.past_title), ")"] : []);
const ADDED = {
  user: () => ["this user dislikes often"],
  item: () => ["disliked by others"],
  latent: () => ["disliked by people of like taste"],
  content: (one) => ["what it is as a whole", ...disliked(one)],
  value: (one) => [h("b", {}, name(one.name.replace(/^trait: /, ""))), ...disliked(one)],
};

function reasonOf(why, item) {
  const added = why.contributions.map((one, n) => [n ? ", " : "", ...ADDED[one.kind](one), h("span", { class: "amount" }, ` +${one.amount.toFixed(2)}`)]);
  const rejected = why.rejected_item && [
    h("b", {}, why.rejected_item === item.item_id ? "rejected before" : `nearly the same as ${why.rejected_item}, rejected before`),
    added.length ? "; " : "",
  ];
  const silenced = why.muted && [h("b", {}, "muted: ", name(ruleText(why.muted))), added.length || rejected ? "; " : ""];
  const words = added.length || rejected || silenced ? added.flat() : ["nothing raises its score"];
  return [h("span", { class: "words" }, ...(silenced || []), ...(rejected || []), ...words), codes(item.codes)];
}

function calibration(promise, threshold) {
  if (promise?.segments) return `Calibrated with a threshold for each ${promise.segments.by}; the slider sets one for all.`;
  if (promise?.refused) return `No calibrated threshold: ${promise.refused}`;
  if (promise && threshold !== null)
    return (
      `Calibrated: ${digits(threshold)} loses at most ${(100 * promise.likes_lost).toFixed(1)} % of the likes, ` +
      `with ${(100 * promise.confidence).toFixed(0)} % confidence.`
    );
  if (threshold !== null) return `In use: ${digits(threshold)}.`;
  return "No threshold is set: the service itself drops nothing until the snapshot is calibrated.";
}
