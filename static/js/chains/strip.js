// The chain as a row of cards, in the order packets meet them, and the palette they come from.

import { find, findAll, make, setData, setText } from "../dom.js";
import { draggable } from "./dragging.js";
import { warningOf } from "./params.js";
import { duration } from "./words.js";

const hidden = (words) => make("span", { class: "visually-hidden" }, words);

function tool(name, symbol, words, run, isOff = false) {
  return make("button", { class: "button button-quiet nf-tool", type: "button", "data-tool": name, disabled: isOff, onclick: run },
    make("span", { "aria-hidden": true }, symbol), hidden(words));
}

function factsOf(nf, type) {
  const service = nf.service ?? type?.service;
  const facts = [service ? `${duration(service.mean_us)}${nf.service ? " (own)" : ""}` : "unknown type"];
  if (nf.pinned_server) facts.push(`on ${nf.pinned_server}`);
  if (nf.is_state_advisory) facts.push("state advisory");
  return facts.join(" · ");
}

/** Shows cards; `actions` is null for those who only look. */
export class Strip {
  constructor(holder, actions) {
    Object.assign(this, { holder, actions, key: "" });
    if (actions) holder.addEventListener("keydown", (event) => this.keys(event));
  }

  show({ draft, types, selected, badFields }) {
    const key = JSON.stringify([draft.nfs, selected, [...types.keys()].length, badFields]);
    if (key === this.key) return;
    this.key = key;
    const focused = this.holder.contains(document.activeElement) ? [document.activeElement.closest(".nf-card")?.dataset.nf, document.activeElement.dataset.tool ?? "main"] : null;
    this.holder.replaceChildren(...draft.nfs.map((nf, index) => this.card(nf, index, { draft, types, selected, badFields })));
    if (!draft.nfs.length) this.holder.append(make("li", { class: "empty" }, this.actions ? "Drag a network function here, or choose one and press Add." : "This chain has no network function."));
    if (focused?.[0]) this.focus(focused[0], focused[1]);
  }

  focus(name, toolName = "main") {
    const card = find(`.nf-card[data-nf="${CSS.escape(name)}"]`, this.holder);
    const target = card && (find(`[data-tool="${toolName}"]:not([disabled])`, card) ?? find('[data-tool="main"], .nf-main', card));
    target?.focus();
  }

  card(nf, index, { draft, types, selected, badFields }) {
    const type = types.get(nf.type);
    const isBad = badFields.some((field) => field.startsWith(`nfs[${index}]`));
    const words = [make("span", { class: "nf-number number" }, String(index + 1)), make("strong", null, nf.name), make("span", { class: "small soft" }, type?.title ?? nf.type),
      make("span", { class: "small number" }, factsOf(nf, type)), isBad && make("span", { class: "field-error" }, "✕ not valid"), !isBad && warningOf(nf, type) && make("span", { class: "field-warning small" }, `▲ ${warningOf(nf, type)}`)];
    const card = make("li", { class: "nf-card", "data-nf": nf.name, "data-bad": isBad || false, "data-selected": index === selected || false });
    if (!this.actions) {
      card.append(make("div", { class: "nf-main" }, ...words.filter(Boolean)));
      return card;
    }
    const main = make("button", { class: "nf-main", type: "button", "aria-pressed": String(index === selected), "aria-keyshortcuts": "Alt+ArrowLeft Alt+ArrowRight Delete", onclick: () => this.actions.select(index) },
      make("span", { class: "nf-grip", "aria-hidden": true }, "⠿"), ...words.filter(Boolean), hidden(`, number ${index + 1} of ${draft.nfs.length}; Alt and arrow keys move it, Delete removes it, Enter shows its settings`));
    card.append(main, make("div", { class: "nf-tools" },
      tool("earlier", "◀", `Move ${nf.name} earlier`, () => this.actions.move(index, index - 1), index === 0),
      tool("later", "▶", `Move ${nf.name} later`, () => this.actions.move(index, index + 1), index === draft.nfs.length - 1),
      tool("remove", "✕", `Remove ${nf.name}`, () => this.actions.remove(index))));
    draggable(card, this.holder, (to) => this.actions.move(index, to), ".nf-grip");
    return card;
  }

  keys(event) {
    const card = event.target.closest(".nf-card");
    if (!card || event.ctrlKey || event.metaKey) return;
    const index = findAll(".nf-card", this.holder).indexOf(card);
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (event.altKey && step) {
      event.preventDefault();
      this.actions.move(index, index + step);
    } else if (!event.altKey && event.key === "Delete") {
      event.preventDefault();
      this.actions.remove(index);
    } else if (!event.altKey && step) {
      event.preventDefault();
      const next = findAll(".nf-card", this.holder)[index + step];
      if (next) this.focus(next.dataset.nf);
    }
  }
}

/** The types to choose from: each can be dragged, and has an Add button. */
export function showPalette(holder, types, strip, add) {
  const rows = [...types.values()].map((type) => {
    const row = make("li", { class: "palette-item", "data-type": type.slug, title: type.description || null },
      make("span", { class: "palette-title" }, make("strong", null, type.title), make("span", { class: "small soft number" }, duration(type.service?.mean_us), type.can_run ? "" : " · plan only")),
      make("button", { class: "button button-small", type: "button", "data-tool": "add", onclick: () => add(type.slug) }, "Add", hidden(` ${type.title}`)));
    draggable(row, strip, (at) => add(type.slug, at));
    return row;
  });
  holder.replaceChildren(...rows);
  if (!rows.length) holder.append(make("li", { class: "empty" }, "The catalogue is empty."));
}

/** Show only types whose title or slug holds the words. */
export function filterPalette(holder, words) {
  const wanted = words.trim().toLowerCase();
  for (const row of findAll(".palette-item", holder)) row.hidden = !`${row.dataset.type} ${row.textContent}`.toLowerCase().includes(wanted);
}

export function showHistoryButtons(undo, redo, history) {
  for (const [button, can, words, name] of [[undo, history.canUndo, history.undoWords, "Undo"], [redo, history.canRedo, history.redoWords, "Redo"]]) {
    button.disabled = !can;
    setText(find(".history-words", button), can ? `${name}: ${words}` : name);
    setData(button, "can", String(can));
  }
}
