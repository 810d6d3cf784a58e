// Elements from names, attributes and children. Strings become text nodes, never markup: titles come from strangers.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

export const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// A stranger's text in a sentence of ours: its direction must not turn ours around.
export const name = (text) => h("bdi", {}, text);

export const percent = (share, digits = 1) =>
  share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)}\u202f%`;

export const count = (number) => Number(number).toLocaleString("en");

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

// 2026-06-06 -> 6 June 2026
export const day = (text) =>
  new Date(`${text.slice(0, 10)}T00:00:00Z`).toLocaleDateString("en-GB", {
    day: "numeric",
    month: "long",
    year: "numeric",
    timeZone: "UTC",
  });

// 2026-06-06T02:15:00+00:00 -> 6 June 2026, 02:15 UTC
export const moment = (text) => `${day(text)}, ${text.slice(11, 16)} UTC`;

let numbers = 0;
export const newId = (what) => `${what}-${(numbers += 1)}`;
