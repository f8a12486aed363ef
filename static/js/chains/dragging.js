// Dragging with a pointer: cards within the chain, types from the palette into it. Buttons and keys do the same.

import { findAll, make } from "../dom.js";

const THRESHOLD_PX = 6;

/** Index at which something dropped at a point would stand among the cards. */
export function dropIndex(list, x, y) {
  const cards = findAll(".nf-card:not([data-dragged])", list);
  for (const [index, card] of cards.entries()) {
    const box = card.getBoundingClientRect();
    if (y < box.top || (y <= box.bottom && x < box.left + box.width / 2)) return index;
  }
  return cards.length;
}

const isOver = (list, x, y) => {
  const box = list.getBoundingClientRect();
  return x >= box.left - 24 && x <= box.right + 24 && y >= box.top - 24 && y <= box.bottom + 24;
};

class Drag {
  constructor(source, list, event, onDrop) {
    Object.assign(this, { source, list, onDrop, startX: event.clientX, startY: event.clientY, ghost: null, mark: null });
    this.isCard = source.classList.contains("nf-card");
    this.end = new AbortController();
    const options = { signal: this.end.signal };
    addEventListener("pointermove", (move) => this.move(move), options);
    addEventListener("pointerup", (up) => this.drop(up), options);
    addEventListener("pointercancel", () => this.stop(), options);
    addEventListener("keydown", (key) => key.key === "Escape" && this.stop(), options);
  }

  begin() {
    const box = this.source.getBoundingClientRect();
    this.ghost = this.source.cloneNode(true);
    this.ghost.classList.add("drag-ghost");
    this.ghost.setAttribute("aria-hidden", "true");
    this.ghost.style.width = `${box.width}px`;
    this.mark = make("li", { class: "drop-mark", "aria-hidden": true });
    if (this.isCard) this.source.dataset.dragged = "true";
    document.body.append(this.ghost);
    document.body.classList.add("is-dragging");
  }

  move(event) {
    if (!this.ghost) {
      if (Math.hypot(event.clientX - this.startX, event.clientY - this.startY) < THRESHOLD_PX) return;
      this.begin();
    }
    event.preventDefault();
    this.ghost.style.left = `${event.clientX + 6}px`;
    this.ghost.style.top = `${event.clientY + 6}px`;
    if (!isOver(this.list, event.clientX, event.clientY)) {
      this.mark.remove();
      return;
    }
    this.mark.remove();
    const index = dropIndex(this.list, event.clientX, event.clientY);
    this.list.insertBefore(this.mark, findAll(".nf-card:not([data-dragged])", this.list)[index] ?? null);
  }

  drop(event) {
    const isDrop = this.ghost && isOver(this.list, event.clientX, event.clientY);
    const index = isDrop ? (this.mark.remove(), dropIndex(this.list, event.clientX, event.clientY)) : -1;
    const wasDragged = Boolean(this.ghost);
    this.stop();
    if (wasDragged) addEventListener("click", (click) => { click.stopPropagation(); click.preventDefault(); }, { capture: true, once: true, signal: AbortSignal.timeout(50) });
    if (isDrop) this.onDrop(index);
  }

  stop() {
    this.end.abort();
    this.ghost?.remove();
    this.mark?.remove();
    delete this.source.dataset.dragged;
    document.body.classList.remove("is-dragging");
  }
}

/** Let an element be dragged into a list. Touch drags only by the grip, so that a finger can still scroll. */
export function draggable(source, list, onDrop, gripSelector = "") {
  source.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.target.closest("[data-tool]")) return;
    if (event.pointerType === "touch" && !(gripSelector && event.target.closest(gripSelector))) return;
    new Drag(source, list, event, onDrop);
  });
}
