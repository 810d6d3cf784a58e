// The trade-off: dislikes avoided against likes lost, and where a threshold stands on it.
//
// The chart is drawn in real pixels, so that its words stay readable on a phone. Its axes begin with the first tenth
// of the likes, where a filter is used, and widen when the threshold leaves it.

import { h, newId, percent, svg } from "./dom.js";

const HEIGHT = 260;
const LEFT = 46;
const RIGHT = 14;
const TOP = 14;
const BOTTOM = 44;
const WIDTHS = [0.1, 0.2, 0.4, 1];

// The point of the curve that a threshold has: the measured one with the next threshold from there on (it never
// promises more than the replay saw).
export function pointAt(curve, threshold) {
  const last = curve.threshold.length - 1;
  let n = curve.threshold.findIndex((value) => value >= threshold - 1e-9);
  if (n < 0) n = last;
  return Object.fromEntries(Object.keys(curve).map((key) => [key, curve[key][n]]));
}

const niceAbove = (value) => [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1].find((step) => step >= value) ?? 1;

export function tradeOff(measured) {
  const { curve } = measured;
  const titleId = newId("chart");
  const title = svg("title", { id: titleId });
  const plot = svg("g");
  const picture = svg("svg", { role: "img", "aria-labelledby": titleId, height: HEIGHT }, title, plot);
  const frame = h("div", { class: "chart" }, picture);
  const value = (words, className) => {
    const number = h("dd", {});
    return { number, tile: h("div", { class: className }, h("dt", {}, words), number) };
  };
  const avoided = value("Dislikes avoided", "avoided");
  const lost = value("Likes lost", "lost");
  const hidden = value("Hidden of all shown");
  const rate = value("Negative feedback");
  let threshold = measured.threshold ?? curve.threshold.at(-1);

  function draw() {
    const width = Math.max(240, frame.clientWidth);
    const now = pointAt(curve, threshold);
    const xMost = WIDTHS.find((most) => now.likes_lost <= most + 1e-9) ?? 1;
    const points = curve.likes_lost.map((x, n) => [x, curve.dislikes_avoided[n]]).filter(([x]) => x <= xMost);
    const yMost = niceAbove(Math.max(xMost, ...points.map(([, y]) => y)));
    const x = (share) => LEFT + (share / xMost) * (width - LEFT - RIGHT);
    const y = (share) => HEIGHT - BOTTOM - (share / yMost) * (HEIGHT - TOP - BOTTOM);
    const at = ([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`;
    const sorted = points.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    const line = sorted.map(at).join(" ");
    const ticks = [0, 0.25, 0.5, 0.75, 1];
    const below = width < 420 ? [0, 0.5, 1] : ticks;
    const digits = xMost < 0.2 && below === ticks ? 1 : 0;
    picture.setAttribute("width", width);
    picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    plot.replaceChildren(
      ...ticks.map((part) =>
        svg(
          "g",
          {},
          svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(part * yMost), y2: y(part * yMost) }),
          svg("text", { x: LEFT - 7, y: y(part * yMost) + 4, "text-anchor": "end" }, percent(part * yMost, 0)),
        ),
      ),
      ...below.map((part) =>
        svg(
          "text",
          { x: x(part * xMost), y: HEIGHT - BOTTOM + 18, "text-anchor": part === 1 ? "end" : "middle" },
          percent(part * xMost, digits),
        ),
      ),
      svg("text", { class: "axis", x: (LEFT + width - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, "likes lost"),
      svg("line", { class: "random", x1: x(0), y1: y(0), x2: x(xMost), y2: y(xMost) }),
      svg("polygon", { class: "area", points: `${x(0)},${y(0)} ${line} ${x(sorted.at(-1)[0])},${y(0)}` }),
      svg("polyline", { class: "line", points: line }),
      svg("line", { class: "drop", x1: x(now.likes_lost), x2: x(now.likes_lost), y1: y(0), y2: y(now.dislikes_avoided) }),
      svg("circle", { class: "dot", cx: x(now.likes_lost), cy: y(now.dislikes_avoided), r: 6 }),
    );
    title.textContent =
      `Dislikes avoided against likes lost. At this threshold ${percent(now.dislikes_avoided)} of the dislikes ` +
      `are avoided and ${percent(now.likes_lost)} of the likes are lost.`;
    avoided.number.textContent = percent(now.dislikes_avoided);
    lost.number.textContent = percent(now.likes_lost);
    hidden.number.textContent = percent(now.dropped);
    rate.number.textContent = `${percent(measured.rate_before)} → ${percent(now.rate_after)}`;
  }

  new ResizeObserver(draw).observe(frame);
  return {
    element: h(
      "div",
      { class: "tradeoff" },
      h("p", { class: "axis-title", "aria-hidden": "true" }, "dislikes avoided"),
      frame,
      h("dl", { class: "tiles" }, avoided.tile, lost.tile, hidden.tile, rate.tile),
      h(
        "p",
        { class: "note" },
        `Measured on ${Number(measured.events).toLocaleString("en")} items that were really shown ` +
          `(${measured.split} period). Dashed: hiding at random.`,
      ),
    ),
    set(value) {
      threshold = value;
      draw();
    },
    now: () => pointAt(curve, threshold),
  };
}
