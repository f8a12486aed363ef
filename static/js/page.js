// What every page has: theme, navigation on narrow screens, shortcuts, menus, times in the reader's zone.

import { find, findAll, setText } from "./dom.js";
import { moment, span } from "./format.js";

const store = {
  get(name) {
    try {
      return localStorage.getItem(name);
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(name, value);
    } catch {
      // Storage is switched off: the choice lasts for this page.
    }
  },
};

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function switchTheme() {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  store.set("theme", theme);
  dispatchEvent(new CustomEvent("themechange", { detail: theme }));
}

function toggleNav(button) {
  const nav = find("#page-nav");
  const open = !nav.hasAttribute("data-open");
  nav.toggleAttribute("data-open", open);
  button.setAttribute("aria-expanded", String(open));
}

function showShortcuts() {
  const dialog = find("#shortcuts");
  if (dialog && !dialog.open) dialog.showModal();
}

const actions = { theme: switchTheme, nav: toggleNav, shortcuts: showShortcuts };

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-action]");
  if (button && actions[button.dataset.action]) actions[button.dataset.action](button);
  for (const menu of findAll("details.user-menu[open]")) {
    if (!menu.contains(event.target) || button) menu.open = false;
  }
});

/** Two-key shortcuts begin with g; single keys do harmless things only. */
let goUntilMs = 0;

function shortcut(event) {
  if (event.key === "?") return showShortcuts();
  if (event.key === "t") return switchTheme();
  if (event.key === "g") {
    goUntilMs = Date.now() + 1500;
    return undefined;
  }
  if (Date.now() < goUntilMs) {
    goUntilMs = 0;
    const link = find(`[data-go="${CSS.escape(event.key)}"]`);
    if (link) location.assign(link.href);
    return undefined;
  }
  const target = find(`[data-shortcut="${CSS.escape(event.key)}"]`);
  if (target) {
    event.preventDefault(); // a field that takes the focus must not take the key too
    target.focus();
    target.scrollIntoView({ block: "center" });
  }
  return undefined;
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    for (const menu of findAll("details.user-menu[open]")) {
      menu.open = false;
      find("summary", menu).focus();
    }
    return;
  }
  if (event.ctrlKey || event.altKey || event.metaKey || store.get("shortcuts") === "off") return;
  if (event.target.closest?.("input, select, textarea, [contenteditable]") || find("dialog[open]")) return;
  shortcut(event);
});

const switchBox = find("#shortcuts-on");
if (switchBox) {
  switchBox.checked = store.get("shortcuts") !== "off";
  switchBox.addEventListener("change", () => store.set("shortcuts", switchBox.checked ? "on" : "off"));
}

/** Times the server wrote in UTC, in the reader's zone; ages that grow. */
function showTimes() {
  for (const element of findAll("time[data-at-s]")) {
    const at = Number(element.dataset.atS);
    if (!Number.isFinite(at)) continue;
    const age = Math.max(0, Date.now() / 1000 - at);
    setText(element, element.dataset.show === "age" ? `${span(age)} ago` : moment(at));
  }
}

showTimes();
setInterval(showTimes, 1000);
