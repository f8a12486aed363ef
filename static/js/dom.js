// Build and find elements. Text is always text: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

export const find = (selector, root = document) => root.querySelector(selector);
export const findAll = (selector, root = document) => [...root.querySelectorAll(selector)];

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Build an HTML element: make("p", {class: "soft"}, "text", child). */
export const make = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

/** Build an SVG element. */
export const makeSvg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

/** Set text only when it differs, so that screen readers and the painter are left alone. */
export function setText(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

/** Set a data attribute only when it differs. */
export function setData(element, name, value) {
  if (element && element.dataset[name] !== value) element.dataset[name] = value;
}

/** A state chip: symbol by style, word by text. */
export const stateChip = (state, word = state) => make("span", { class: "state", "data-state": state }, word.replaceAll("_", " "));

/** Change a chip in place. */
export function setState(chip, state, word = state) {
  setData(chip, "state", state);
  setText(chip, word.replaceAll("_", " "));
}
