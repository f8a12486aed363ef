// A table of devices that look at packets: asks for its rows, changes them in place, and tells how a change ended.

import { find, findAll, make, setState, setText, stateChip } from "../dom.js";
import { clock } from "../format.js";

const ASK_EVERY_MS = 5000;
const SILENT_S = 10;

/** Whether a device has not spoken of itself for long. */
export const isSilent = (row, nowS) => nowS - row.told_at_s > SILENT_S;

/** The state of who fell silent. */
export const silentSince = (row) => ["stale", "silent", `since ${clock(row.told_at_s)}`];

/** What a kind of table adds: cells() of a new row, update(element, row), stateOf(row, nowS) -> [state, word, why]. */
export class DeviceTable {
  /**
   * Args: kind, "sensor" or "collector", names elements of the page; columns, [label, class] after the device and its
   * state; ask(), a promise of rows; canOperate, whether this person may change them; nowS(), the portal's time;
   * say(words, level) tells how a change ended.
   */
  constructor(kind, columns, ask, canOperate, nowS, say) {
    Object.assign(this, { kind, columns, ask, canOperate, nowS, say });
    this.refresh();
    setInterval(() => document.visibilityState === "visible" && this.refresh(), ASK_EVERY_MS);
  }

  refresh() {
    this.ask().then((rows) => this.show(rows), () => {}); // the live indicator tells when the portal is away
  }

  show(rows) {
    const body = find(`#${this.kind}s`);
    const known = new Map(findAll("[data-device]", body).map((element) => [element.dataset.device, element]));
    for (const row of rows) {
      let element = known.get(row.device);
      if (!element) body.append((element = this.row(row)));
      known.delete(row.device);
      const [state, word, why] = this.stateOf(row, this.nowS());
      setState(find(".state", element), state, word);
      setText(find(".why", element), why);
      this.update(element, row);
    }
    for (const gone of known.values()) gone.remove();
    find(`#${this.kind}s-table`).hidden = !rows.length;
    find(`#${this.kind}s-empty`).hidden = rows.length > 0;
  }

  /** On a narrow page rows are stacks of cells, each under its label; roles keep them a table for who listens to it. */
  row(row) {
    const cell = ([label, kind], ...children) => make("td", { role: "cell", class: kind, "data-label": label }, ...children);
    const element = make("tr", { role: "row", "data-device": row.device, [`data-${this.kind}`]: row.device }, make("th", { role: "rowheader", scope: "row" }, row.device),
      cell(["state"], stateChip("unknown"), make("div", { class: "small soft why" })), ...this.columns.map((column) => cell(column)));
    if (this.canOperate) this.fillIn(element, row);
    return element;
  }

  /** Ask for a change; words(rows) tells what is done now. */
  async tell(button, change, words) {
    button.disabled = true;
    try {
      const rows = await change();
      this.show(rows);
      this.say(words(rows), "ok");
    } catch (error) {
      this.say(error, "error");
    } finally {
      button.disabled = false;
    }
  }

  /** A button that sets what the row's fields say. */
  button(row, attributes) {
    return make("button", attributes, "Set", make("span", { class: "visually-hidden" }, ` the ${this.kind} of ${row.device}`));
  }
}
