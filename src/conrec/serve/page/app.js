// The page: a view for each address after the #.

import { get } from "./api.js";
import { catalogue } from "./catalogue.js";
import { h, moment } from "./dom.js";
import { usePictures } from "./items.js";
import { home, user } from "./users.js";

const content = document.getElementById("content");
const status = document.getElementById("status");
const LOOK_AGAIN = 15_000; // ms between two looks at which snapshot is in use

let about = null;
let visits = 0;

const report = () => [
  h("h1", { tabindex: -1 }, "The run's report"),
  h("p", {}, h("a", { href: "report" }, "Open the report on a page of its own")),
  h("iframe", { class: "report", src: "report", title: "The run's report", sandbox: "", loading: "lazy" }),
];

async function refresh() {
  about = await get("ui/about");
  usePictures(about.pictures);
  document.getElementById("report-link").hidden = !about.report;
  status.textContent = about.version ? `Snapshot of ${moment(about.published)}` : `No snapshot in use: ${about.problem}`;
  status.title = about.version ?? "";
}

async function render(focus) {
  if (location.hash && !location.hash.startsWith("#/")) return; // a place on the page
  const mine = (visits += 1);
  const [view, argument] = location.hash.slice(2).split("/").map(decodeURIComponent);
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.dataset.view === (view || "users");
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  content.setAttribute("aria-busy", "true");
  let parts;
  try {
    await refresh();
    if (!about.version) parts = [h("h1", { tabindex: -1 }, "No snapshot in use"), h("p", {}, about.problem, " Until there is one, all candidates pass.")];
    else if (view === "users" && argument) parts = await user(about, argument);
    else if (view === "catalogue") parts = await catalogue(about, argument);
    else if (view === "report" && about.report) parts = report();
    else parts = await home(about);
  } catch (error) {
    parts = [h("h1", { tabindex: -1 }, "This did not work"), h("p", { class: "problem", role: "alert" }, error.message)];
  }
  if (mine !== visits) return; // the user has gone on meanwhile
  content.replaceChildren(...parts.filter(Boolean));
  content.removeAttribute("aria-busy");
  const heading = content.querySelector("h1");
  document.title = `${heading.textContent} · CoNRec`;
  if (focus) {
    heading.focus({ preventScroll: true });
    if (!argument || view === "users") scrollTo(0, 0);
  }
}

addEventListener("hashchange", () => render(true));
addEventListener("changed", async (event) => {
  await render(false);
  status.textContent = event.detail;
});
setInterval(() => document.hidden || refresh().catch((error) => (status.textContent = error.message)), LOOK_AGAIN);
render(false);
