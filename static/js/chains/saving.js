// Saving, and the view in which two operators' changes become one.

import { find, findAll, make, setText } from "../dom.js";
import { ProblemError } from "../rest.js";
import { chainCreate, chainGet, chainSave } from "./api.js";
import { isDecided, mergeRows, mergedOf } from "./merge.js";
import { bodyOf, draftOf } from "./model.js";

function valueWords(value) {
  if (value === null || value === undefined || value === "") return "–";
  if (value === true) return "yes";
  if (value === false) return "no";
  if (Array.isArray(value)) return value.join(" → ") || "–";
  return typeof value === "object" ? JSON.stringify(value, null, 1) : String(value);
}

function mergeRow(row, index, changed) {
  const choice = (side, words) => make("td", { "data-side": side }, make("label", { class: "merge-choice" },
    make("input", { type: "radio", name: `merge-${index}`, value: side, checked: row.choice === side, onchange: () => { row.choice = side; changed(); } }),
    make("span", { class: "visually-hidden" }, `${row.label}: ${side}: `), make("span", { class: "merge-value" }, words)));
  return make("tr", { "data-field": row.field, "data-conflict": String(row.isConflict) },
    make("th", { scope: "row" }, row.label, row.isConflict ? make("span", { class: "small field-error" }, "✕ both changed it") : make("span", { class: "small soft" }, row.choice === "mine" ? "only you changed it" : "only they changed it")),
    make("td", { class: "soft" }, make("span", { class: "merge-value" }, valueWords(row.base))), choice("mine", valueWords(row.mine)), choice("theirs", valueWords(row.theirs)));
}

/** Ask which of two changes to keep, row by row; resolves to the merged draft, or null when the dialog was closed. */
export function askMerge(dialog, { base, mine, theirs, who }) {
  const rows = mergeRows(base, mine, theirs);
  const save = find('[data-merge="save"]', dialog);
  const open = () => rows.filter((row) => row.choice === null).length;
  const changed = () => {
    save.disabled = !isDecided(rows);
    setText(find(".merge-open", dialog), open() ? `${open()} to decide: both of you changed the same thing.` : "Everything is decided.");
  };
  setText(find(".merge-who", dialog), who);
  find("tbody", dialog).replaceChildren(...rows.map((row, index) => mergeRow(row, index, changed)));
  find(".merge-none", dialog).hidden = rows.length > 0;
  for (const button of findAll("[data-merge-all]", dialog)) {
    button.onclick = () => {
      for (const input of findAll(`input[value="${button.dataset.mergeAll}"]`, dialog)) input.click();
    };
  }
  changed();
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => {
      find("tbody", dialog).replaceChildren();
      resolve(dialog.returnValue === "save" && isDecided(rows) ? mergedOf(rows, mine, theirs) : null);
    };
  });
}

const NOTHING = { saved: null, merged: null };

/**
 * Save a draft. Returns {saved: chain} when done, {saved: null, base, merged} when somebody was faster: `base` is what the
 * portal has now, `merged` the operator's answer or null. Throws ProblemError or TypeError; the draft is untouched then.
 */
export async function saveDraft({ draft, base, version, dialog }) {
  try {
    const body = bodyOf(draft);
    return { ...NOTHING, saved: version === null ? await chainCreate(body) : await chainSave(draft.name, version, body) };
  } catch (error) {
    if (!(error instanceof ProblemError) || error.status !== 412) throw error;
    const current = error.problem?.current ?? (await chainGet(draft.name));
    return { ...NOTHING, current, merged: await mergeWith({ draft, base, current, dialog }) };
  }
}

/** Ask how to merge a draft with what the portal has now. */
export async function mergeWith({ draft, base, current, dialog }) {
  const who = `${current.updated_by || "Somebody"} saved version ${current.version} while you were drawing.`;
  return askMerge(dialog, { base, mine: draft, theirs: draftOf(current), who });
}

const keyOf = (name) => `chain-draft:${name}`;

/** Unsaved work outlives a reload or a log-in: it waits in the browser until it is saved or thrown away. */
export const keptDrafts = {
  get(name) {
    try {
      return JSON.parse(sessionStorage.getItem(keyOf(name)) ?? "null");
    } catch {
      return null;
    }
  },
  set(name, kept) {
    try {
      if (kept) sessionStorage.setItem(keyOf(name), JSON.stringify(kept));
      else sessionStorage.removeItem(keyOf(name));
    } catch {
      // Storage is switched off: the leave-page warning is what is left.
    }
  },
};
