// Users: find one; what they disliked and liked, what is predicted, and what the filter makes of it.

import { dislike, get, undo } from "./api.js";
import { count, day, h, name, newId, plural } from "./dom.js";
import { filtering } from "./filtering.js";
import { card, codes, strip } from "./items.js";
import { muting } from "./mutes.js";
import { search } from "./search.js";
import { tradeOff } from "./tradeoff.js";

const href = (user) => `#/users/${encodeURIComponent(user)}`;

function finder() {
  return search({
    label: "Find a user",
    placeholder: "User id",
    find: async (q) => (await get("ui/users", { q })).users,
    show: (user) => ({ text: user }),
    pick: (user) => (location.hash = href(user)),
  });
}

export async function home(about) {
  const { users } = await get("ui/users", { q: "" });
  const fact = (value, words) => h("div", {}, h("dt", {}, words), h("dd", {}, value));
  return [
    h("h1", { tabindex: -1 }, "What will they dislike next?"),
    h(
      "p",
      { class: "lead" },
      "CoNRec predicts what each user is most likely to reject, and keeps it out of what your recommender shows. " +
        "Look up a user to see what it knows, what it expects, and what it would hide.",
    ),
    finder(),
    users.length > 0 &&
      h(
        "section",
        { "aria-labelledby": "some" },
        h("h2", { id: "some", class: "small" }, "For example"),
        h("ul", { class: "chips" }, ...users.slice(0, 12).map((user) => h("li", {}, h("a", { href: href(user) }, name(user))))),
      ),
    about.trade_off && worth(about),
    h(
      "section",
      { class: "panel", "aria-labelledby": "snapshot" },
      h("h2", { id: "snapshot" }, "The snapshot in use"),
      h(
        "dl",
        { class: "tiles" },
        fact(count(about.users), "users"),
        fact(count(about.items), "items"),
        fact(about.threshold === null ? "none" : about.threshold.toFixed(3), "threshold"),
        fact(day(about.published), "published"),
      ),
      h(
        "p",
        { class: "note" },
        `Version ${about.version}. At most ${Math.round(100 * about.max_drop_share)} % of a list ` +
          `are hidden, and ${plural(about.min_keep, "candidate")} at least remain` +
          `${about.dry_run ? "; this is a dry run: nothing is hidden yet" : ""}.`,
      ),
    ),
  ];
}

// What the filter is worth at the threshold in use, or at the one that the run chose.
function worth(about) {
  const chart = tradeOff(about.trade_off);
  const threshold = about.threshold ?? about.trade_off.threshold;
  if (threshold !== null) chart.set(threshold);
  const heading = h("h2", { id: "worth" }, about.threshold === null ? "What the filter could do" : "What the filter does");
  return h("section", { class: "panel worth", "aria-labelledby": "worth" }, heading, chart.element);
}

export async function user(about, id) {
  const heading = h("h1", { tabindex: -1 }, "User ", name(id));
  const { view } = await get("ui/user", { user: id });
  if (view === null)
    return [
      h("div", { class: "top" }, heading, finder()),
      h("p", { class: "lead" }, "The snapshot in use does not know this user: whatever they are offered passes."),
      muting(id, { mutes: [], suggestions: [] }),
      await filtering(id, about),
    ];
  return [
    h("div", { class: "top" }, heading, finder()),
    h(
      "p",
      { class: "lead" },
      `${plural(view.dislikes.length, "dislike")} and ${plural(view.liked.length, "like")} remembered, ` +
        `${plural(view.predicted.length, "item")} expected to be disliked next.`,
    ),
    h("div", { class: "two" }, disliked(view), row("Liked", "newest first", view.liked.map((item) => card(item, {}, codes(item.codes))))),
    row(
      "Expected dislikes",
      "most likely first",
      view.predicted.map(({ item, past_dislike: past }) =>
        card(item, {}, codes(item.codes), past && h("p", { class: "reason" }, "because of ", h("b", {}, name(past.title)))),
      ),
    ),
    muting(id, view),
    await filtering(id, about),
  ];
}

function row(title, hint, cards) {
  const heading = h("h2", { id: newId("row") }, title, " ", h("small", {}, hint));
  return h(
    "section",
    { class: "panel", "aria-labelledby": heading.id },
    heading,
    cards.length ? strip(title, cards) : h("p", { class: "note" }, "None."),
  );
}

function disliked(view) {
  const cards = view.dislikes.map((item) => {
    const title = item.title || item.item_id;
    const take = h("button", { type: "button", class: "quiet", "aria-label": `Take back the dislike of ${title}` }, "Take back");
    take.addEventListener("click", () => confirmed(view.user, item, take));
    return card(item, {}, codes(item.codes), take);
  });
  const gone = view.undone.map((item) => {
    const again = h("button", { type: "button", class: "quiet", "aria-label": `Dislike ${item.title || item.item_id} again` }, "Dislike again");
    const said = h("p", { class: "reason", role: "status" }, "taken back");
    again.addEventListener("click", () =>
      dislike(view.user, item.item_id).then(
        () => dispatchEvent(new CustomEvent("changed", { detail: "The dislike counts again." })),
        (error) => (said.textContent = error.message),
      ),
    );
    return card(item, { class: "off" }, codes(item.codes), said, again);
  });
  return row("Disliked", "newest first", [...cards, ...gone]);
}

// What follows from taking back is seen elsewhere, so it is asked once.
function confirmed(user, item, opener) {
  const problem = h("p", { class: "problem", role: "alert" });
  const yes = h("button", { type: "button", class: "main" }, "Take back");
  const no = h("button", { type: "button", class: "quiet" }, "Cancel");
  const heading = h("h2", { id: newId("dialog") }, "Take this dislike back?");
  const dialog = h(
    "dialog",
    { "aria-labelledby": heading.id },
    heading,
    h("p", {}, "What was expected because of ", h("b", {}, name(item.title || item.item_id)), " no longer counts, at once, and it may be shown again. You can dislike it again."),
    problem,
    h("div", { class: "buttons" }, yes, no),
  );
  no.addEventListener("click", () => dialog.close());
  yes.addEventListener("click", async () => {
    try {
      await undo(user, item.item_id);
      dialog.close("done");
    } catch (error) {
      problem.textContent = error.message;
    }
  });
  dialog.addEventListener("close", () => {
    const done = dialog.returnValue === "done";
    dialog.remove();
    if (done) dispatchEvent(new CustomEvent("changed", { detail: "The dislike was taken back." }));
    else opener.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
}
