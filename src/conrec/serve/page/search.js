// A search field with suggestions: the ARIA pattern "editable combobox with list autocomplete".

import { h, newId } from "./dom.js";

const WAIT = 120; // ms of quiet before suggestions are asked for

// label: of the field; find(text) -> promise of options; show(option) -> {text, hint}; pick(option).
export function search({ label, placeholder, find, show, pick }) {
  const list = h("ul", { role: "listbox", id: newId("options"), "aria-label": label, hidden: true });
  const input = h("input", {
    id: newId("search"),
    type: "text",
    role: "combobox",
    placeholder,
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": list.id,
  });
  const said = h("p", { class: "only-read", role: "status" });
  let options = [];
  let active = -1;
  let timer = 0;
  let asked = 0;

  function close() {
    clearTimeout(timer);
    asked += 1; // an answer that is still to come must not open the list again
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function mark(index) {
    active = index;
    [...list.children].forEach((option, n) => option.setAttribute("aria-selected", String(n === index)));
    const option = list.children[index];
    if (!option) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  }

  function choose(index) {
    const option = options[index];
    if (option === undefined) return;
    input.value = show(option).text;
    close();
    pick(option);
  }

  function open() {
    list.replaceChildren(
      ...options.map((option, n) => {
        const { text, hint } = show(option);
        const id = `${list.id}-${n}`;
        const chosen = (event) => {
          event.preventDefault(); // keeps the focus in the field
          choose(n);
        };
        return h(
          "li",
          { role: "option", id, "aria-selected": "false", onmousedown: chosen },
          h("bdi", {}, text),
          hint && h("small", {}, hint),
        );
      }),
    );
    list.hidden = options.length === 0;
    input.setAttribute("aria-expanded", String(options.length > 0));
    said.textContent = options.length ? `${options.length} suggestions` : input.value ? "Nothing found" : "";
  }

  async function suggest() {
    const mine = (asked += 1);
    try {
      const found = await find(input.value.trim());
      if (mine !== asked || document.activeElement !== input) return; // a later question is under way, or none at all
      const marked = options[active] && show(options[active]).text;
      options = found;
      open();
      mark(options.findIndex((option) => show(option).text === marked));
    } catch (error) {
      said.textContent = error.message;
    }
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(suggest, WAIT);
  });
  input.addEventListener("focus", suggest);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", async (event) => {
    const last = options.length - 1;
    if (event.key === "ArrowDown" && list.hidden) await suggest();
    else if (event.key === "ArrowDown") mark(active >= last ? 0 : active + 1);
    else if (event.key === "ArrowUp") mark(active <= 0 ? last : active - 1);
    else if (event.key === "Escape" && !list.hidden) close();
    else if (event.key === "Enter") {
      clearTimeout(timer);
      if (active < 0) {
        await suggest();
        const typed = input.value.trim();
        const exact = options.findIndex((option) => show(option).text === typed);
        choose(exact >= 0 ? exact : 0);
      } else choose(active);
    } else return;
    event.preventDefault();
  });

  return h(
    "div",
    { class: "search" },
    h("label", { for: input.id }, label),
    h("div", { class: "field" }, input, list),
    said,
  );
}
