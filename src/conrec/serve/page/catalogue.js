// The catalogue by ID prefix: what the codes mean, one level inside the other.

import { get } from "./api.js";
import { count, h, name, newId, percent, plural } from "./dom.js";
import { card, catalogueHref, code, image } from "./items.js";
import { search } from "./search.js";

const AT_ONCE = 20;

export async function catalogue(about, path) {
  const open = path ? path.split(".").map(Number) : [];
  const found = search({
    label: "Find an item",
    placeholder: "Words of its title",
    find: async (q) => (q ? (await get("ui/items", { q })).items : []),
    show: (item) => ({ text: item.title || item.item_id, hint: item.codes.map((value, level) => code(level, value)).join(" ") }),
    pick: (item) => (location.hash = catalogueHref(item.codes.slice(0, -1))),
  });
  return [
    h("h1", { tabindex: -1 }, "The catalogue by semantic ID"),
    h(
      "p",
      { class: "lead" },
      `Every item has an ID of ${about.levels} codes; items that share the first codes are alike. This is what the codes mean.`,
    ),
    found,
    await level([], open),
  ];
}

// The list under a prefix; `open` says which of it to unfold, as deep as it goes.
async function level(prefix, open, above = "") {
  const { prefixes, items } = await get("ui/catalogue", { prefix: prefix.join(".") });
  if (items.length) return leaves(prefix, items);
  // The one that somebody came for stands first.
  const wanted = prefixes.findIndex((node) => node.prefix.at(-1) === open[prefix.length]);
  if (wanted > 0) prefixes.unshift(...prefixes.splice(wanted, 1));
  const list = h("ul", { class: "tree", "aria-label": prefix.length ? null : "Prefixes" });
  let shown = 0;
  const more = h("button", { type: "button", class: "quiet" });
  async function show(upTo) {
    const next = await Promise.all(prefixes.slice(shown, upTo).map((node) => branch(node, open, above)));
    shown = Math.min(upTo, prefixes.length);
    list.append(...next);
    more.textContent = `Show more (${count(prefixes.length - shown)} left)`;
    more.hidden = shown >= prefixes.length;
    return next[0];
  }
  more.addEventListener("click", async () => (await show(shown + AT_ONCE))?.querySelector("button").focus());
  await show(AT_ONCE);
  return h("div", {}, list, more);
}

async function branch(node, open, above) {
  const depth = node.prefix.length - 1;
  const inside = h("div", { id: newId("inside"), class: "inside", hidden: true });
  // What tells it from the others: its categories, unless they are those of the whole prefix above; else its words.
  const many = node.categories.length > 1;
  const kinds = node.categories.map(([label, share]) => (many ? `${label} ${percent(share, 0)}` : label)).join(", ");
  const words = node.words.join(", ");
  const told = kinds && (kinds !== above || !words) ? kinds : words || "no word in common";
  const button = h(
    "button",
    { type: "button", class: "node", "aria-expanded": "false", "aria-controls": inside.id },
    h("span", { class: "codes" }, node.prefix.map((value, n) => h("span", { class: n < depth ? "faint" : null }, code(n, value)))),
    h("span", { class: "words" }, name(told)),
    h("span", { class: "number" }, plural(node.items, "item")),
  );
  async function toggle() {
    const unfold = inside.hidden;
    if (unfold && !inside.firstChild) {
      try {
        inside.append(await level(node.prefix, open, kinds));
      } catch (error) {
        inside.append(h("p", { class: "problem", role: "alert" }, error.message));
      }
    }
    inside.hidden = !unfold;
    button.setAttribute("aria-expanded", String(unfold));
  }
  button.addEventListener("click", toggle);
  const item = h(
    "li",
    {},
    button,
    h(
      "div",
      { class: "about" },
      h("span", { class: "thumbs" }, ...node.examples.map(image)),
      words && told !== words && h("span", { class: "note" }, "in titles: ", name(words)),
    ),
    inside,
  );
  if (node.prefix.every((value, n) => value === open[n])) {
    await toggle();
    if (node.prefix.length === open.length) setTimeout(() => item.scrollIntoView({ block: "start" }));
  }
  return item;
}

const leaves = (prefix, items) =>
  h(
    "ul",
    { class: "cards small", "aria-label": `Items under ${prefix.map((value, n) => code(n, value)).join(" ")}` },
    ...items.map((item) =>
      card(item, {}, h("span", { class: "codes" }, item.codes.map((value, n) => h("span", { class: n < prefix.length ? "faint" : null }, code(n, value))))),
    ),
  );
