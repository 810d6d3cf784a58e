// Mutes: what a user does not want to see at all, and what suggests itself from their dislikes.

import { mute, unmute } from "./api.js";
import { h, name, newId, percent, plural } from "./dom.js";

const KINDS = { word: "Word of the title", category: "Category", value: "Attribute" };

export const ruleText = (rule) => (rule.kind === "word" ? `“${rule.name}”` : rule.name.replace(/^trait: /, ""));

export function muting(user, { mutes, suggestions }) {
  const heading = h("h2", { id: newId("muted") }, "Muted ", h("small", {}, "out whatever the score"));
  const problem = h("p", { class: "problem", role: "alert" });
  const change = (what, rule, detail) =>
    what(user, rule).then(
      () => dispatchEvent(new CustomEvent("changed", { detail })),
      (error) => (problem.textContent = error.message),
    );
  const button = (words, label, act) => h("button", { type: "button", class: "quiet", "aria-label": label, onclick: act }, words);
  const rules = mutes.map((rule) => {
    const text = ruleText(rule);
    const take = () => change(unmute, rule, `${text} is no longer muted.`);
    return h("li", {}, h("span", {}, `${KINDS[rule.kind]}: `, h("b", {}, name(text))), button("Unmute", `Unmute ${text}`, take));
  });
  const ideas = suggestions.map(({ mute: rule, dislikes, of, shown }) => {
    const text = ruleText(rule);
    const said = h("span", {}, `${dislikes} of ${plural(of, "dislike")} are `, h("b", {}, name(text)), `, and ${percent(shown, 0)} of what was shown.`);
    return h("li", {}, said, button("Mute it", `Mute ${text}`, () => change(mute, rule, `${text} is muted: it is hidden from now on.`)));
  });
  const kind = h("select", { id: newId("kind") }, ...Object.entries(KINDS).map(([value, words]) => h("option", { value }, words)));
  const text = h("input", { id: newId("name"), required: true, maxlength: 200, autocomplete: "off" });
  const form = h(
    "form",
    { class: "mute" },
    h("label", { for: kind.id }, "Mute a"),
    kind,
    h("label", { for: text.id, class: "only-read" }, "What to mute"),
    text,
    h("button", { class: "quiet" }, "Mute"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    change(mute, { kind: kind.value, name: text.value }, `${text.value} is muted: it is hidden from now on.`);
  });
  return h(
    "section",
    { class: "panel", "aria-labelledby": heading.id },
    heading,
    rules.length ? h("ul", { class: "rules", "aria-labelledby": heading.id }, ...rules) : h("p", { class: "note" }, "Nothing yet."),
    ideas.length > 0 && [h("h3", {}, "Mute this?"), h("ul", { class: "rules" }, ...ideas)],
    form,
    problem,
  );
}
