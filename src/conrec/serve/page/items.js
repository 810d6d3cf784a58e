// How an item looks: its picture, its title, the codes of its semantic ID.

import { picture } from "./api.js";
import { h, name } from "./dom.js";

const LETTERS = "abcdefgh";

let pictures = false;
export const usePictures = (there) => (pictures = there);

// The title stands beside it, so the picture itself is not told again.
export const image = (item) =>
  pictures && h("img", { src: picture(item), alt: "", loading: "lazy", decoding: "async", width: 160, height: 160 });

export const code = (level, value) => `${LETTERS[level]}${value}`;

export const catalogueHref = (codes) => `#/catalogue/${codes.join(".")}`;

// The codes as a link into the catalogue.
export function codes(values) {
  if (!values?.length) return null;
  const parts = values.map((value, level) => h("span", {}, code(level, value)));
  const spoken = `Semantic ID ${values.map((value, level) => code(level, value)).join(" ")}, show in the catalogue`;
  return h("a", { class: "codes", href: catalogueHref(values.slice(0, -1)), "aria-label": spoken }, ...parts);
}

// A card: picture, title, and whatever belongs to it here.
export const card = (item, attributes, ...rest) =>
  h(
    "li",
    { ...attributes, class: `card ${attributes?.class ?? ""}`.trim() },
    image(item.item_id),
    h("span", { class: "title", title: item.title }, name(item.title || item.item_id)),
    ...rest,
  );

// One row of cards that scrolls sideways; it can be focused so that the arrow keys scroll it.
export const strip = (label, cards) =>
  h("div", { class: "scroll", role: "region", "aria-label": label, tabindex: 0 }, h("ul", { class: "strip" }, ...cards));
