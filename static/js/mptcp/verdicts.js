// Verdicts on one connection: what is in force, block with a reason, undo.

import { find, make, stateChip } from "../dom.js";
import { moment } from "../format.js";
import { failureWords } from "../rest.js";
import { block, undo } from "./api.js";

export class VerdictControls {
  /** Args: canOperate, whether this person may decide; onFail(error) shows what went wrong. */
  constructor(canOperate, onFail) {
    Object.assign(this, { canOperate, onFail, connection: null, rows: "" });
    if (canOperate) this.wire();
  }

  wire() {
    const dialog = find("#confirm-block");
    find("#block").addEventListener("click", () => this.open(dialog));
    find("#block-close").addEventListener("click", () => dialog.close());
    find("form", dialog).addEventListener("submit", (event) => {
      event.preventDefault();
      this.send(dialog);
    });
  }

  open(dialog) {
    const { connection } = this;
    const weak = !connection.is_blockable;
    find("#block-failure").replaceChildren();
    find("#force-field").hidden = !weak;
    find("#force").checked = false;
    find(".confirm-words", dialog).textContent = `All ${connection.subflow_count} subflows of ${connection.client} → ${connection.server} stop at the site's gateways, and each that joins later.${weak ? " The evidence that they belong together is weak: others may be hit." : ""}`;
    dialog.showModal();
    find("#reason").focus();
  }

  async send(dialog) {
    const body = { connection: this.connection.id, reason: find("#reason").value, expires_in_s: Number(find("#expires").value), force: find("#force").checked };
    try {
      await block(body);
      find("#reason").value = "";
      dialog.close();
    } catch (error) {
      find("#block-failure").replaceChildren(make("div", { class: "notice", "data-level": "error" }, stateChip("error", "not blocked"), make("span", null, failureWords(error))));
    }
  }

  async end(verdict, button) {
    button.disabled = true;
    try {
      await undo(verdict.id, "");
    } catch (error) {
      button.disabled = false;
      this.onFail(error);
    }
  }

  show(connection) {
    this.connection = connection;
    const button = find("#block");
    if (button) button.disabled = connection.is_blocked || connection.state === "gone";
    const rows = JSON.stringify(connection.verdicts);
    if (rows === this.rows) return;
    this.rows = rows;
    find("#verdicts").replaceChildren(...connection.verdicts.map((verdict) => this.row(verdict)));
    find("#verdicts-empty").hidden = connection.verdicts.length > 0;
  }

  row(verdict) {
    const state = verdict.is_open ? stateChip("alarm", "blocked") : stateChip("queued", verdict.end_reason || "undone");
    const cells = make("td");
    if (verdict.is_open && this.canOperate) {
      const button = make("button", { class: "button button-small", type: "button" }, "Undo");
      button.addEventListener("click", () => this.end(verdict, button));
      cells.append(button);
    }
    const until = verdict.is_open ? verdict.expires_at_s : verdict.ended_at_s;
    return make("tr", { "data-verdict": verdict.id }, make("th", { scope: "row" }, state), make("td", null, verdict.reason, verdict.is_forced ? make("span", { class: "small soft" }, " (forced)") : ""),
      make("td", { class: "small" }, `${moment(verdict.created_at_s)} by ${verdict.created_by}`), make("td", { class: "small" }, moment(until)), make("td", { class: "small" }, verdict.gateways.join(", ") || "no gateway"), cells);
  }
}
