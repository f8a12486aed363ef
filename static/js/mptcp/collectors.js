// Whose samples (sFlow, IPFIX) each collector takes: a row per device, what came and what was dropped and why.

import { find, findAll, make, setState, setText, stateChip } from "../dom.js";
import { clock } from "../format.js";
import { collectorSet, collectors } from "./api.js";
import { count, many } from "./words.js";

const ASK_EVERY_MS = 5000;
const SILENT_S = 10;
const EXPORTERS_MAX_CHARACTERS = 256 * 50;
// TABLE: what a collector counts as lost, and why.
const LOSSES = [
  ["not_allowed_count", "from others than the exporters"],
  ["over_rate_count", "over the limit of an address"],
  ["too_long_count", "too long"],
  ["malformed_count", "malformed"],
  ["kernel_drop_count", "lost in the kernel's queue"],
  ["own_drop_count", "records beyond what one collector may send"],
];

const listed = (text) => text.split(/[\s,;]+/).filter(Boolean);
const portOf = (input) => (input.value === "" ? null : Number(input.value));

/** A collector's chip: state, word, and what to know of it. */
function stateOf(row, nowS) {
  if (row.status !== "online") return [row.status, row.status, ""];
  if (row.error) return ["failed", "not listening", row.error];
  if (!row.exporters.length) return ["unknown", "hears nobody", ""];
  if (!row.is_applied || row.told_at_s === null) return ["running", "being told", ""];
  if (nowS - row.told_at_s > SILENT_S) return ["stale", "silent", `since ${clock(row.told_at_s)}`];
  const ports = [["sFlow", row.told.sflow_port], ["IPFIX", row.told.ipfix_port]].filter(([, port]) => port);
  return ["online", "listening", ports.map(([name, port]) => `${name} at ${port}`).join(", ")];
}

export class CollectorTable {
  /** Args: canOperate, whether this person may change them; nowS(), the portal's time; say(words, level) tells how a change ended. */
  constructor(canOperate, nowS, say) {
    Object.assign(this, { canOperate, nowS, say });
    this.ask();
    setInterval(() => document.visibilityState === "visible" && this.ask(), ASK_EVERY_MS);
  }

  ask() {
    collectors().then((rows) => this.show(rows), () => {}); // the live indicator tells when the portal is away
  }

  show(rows) {
    const body = find("#collectors");
    const known = new Map(findAll("[data-collector]", body).map((element) => [element.dataset.collector, element]));
    for (const row of rows) {
      let element = known.get(row.device);
      if (!element) body.append((element = this.row(row)));
      known.delete(row.device);
      this.update(element, row);
    }
    for (const gone of known.values()) gone.remove();
    find("#collectors-table").hidden = !rows.length;
    find("#collectors-empty").hidden = rows.length > 0;
  }

  row(row) {
    const cell = (...children) => make("td", null, ...children);
    const element = make("tr", { "data-collector": row.device }, make("th", { scope: "row" }, row.device), cell(stateChip("unknown"), make("div", { class: "small soft why" })), cell(), make("td", { class: "figure" }), make("td", { class: "figure" }), make("td", { class: "losses small" }));
    if (this.canOperate) element.cells[2].append(this.form(row.device));
    return element;
  }

  form(device) {
    const field = (tag, name, words, more) => {
      const id = `${name}-of-${device}`;
      return make("div", { class: "field" }, make("label", { for: id, class: "small" }, words, make("span", { class: "visually-hidden" }, ` of ${device}`)), make(tag, { id, "data-field": name, ...more }));
    };
    const port = { type: "number", min: 1, max: 65535, placeholder: "none" };
    const form = make("form", { class: "collector-form" },
      field("textarea", "exporters", "Exporters: addresses, networks", { rows: 2, maxlength: EXPORTERS_MAX_CHARACTERS, spellcheck: "false", placeholder: "192.0.2.1, 198.51.100.0/24" }),
      field("input", "sflow_port", "sFlow port", port), field("input", "ipfix_port", "IPFIX port", port),
      field("input", "datagram_rate_max", "At most a second, each", { type: "number", min: 1, max: 100000, required: true }),
      make("button", { class: "button", type: "submit" }, "Set", make("span", { class: "visually-hidden" }, ` the collector of ${device}`)));
    form.addEventListener("submit", (event) => this.change(event, device, form));
    return form;
  }

  update(element, row) {
    const [, state, heard, datagrams, records, losses] = element.cells;
    const [kind, word, why] = stateOf(row, this.nowS());
    setState(find(".state", state), kind, word);
    setText(find(".why", state), why);
    if (this.canOperate) findAll("[data-field]", heard).forEach((field) => this.fill(field, row));
    else setText(heard, row.exporters.length ? `${row.exporters.join(", ")}; at most ${count(row.datagram_rate_max)} datagrams a second of each` : "nobody");
    setText(datagrams, count(row.told.datagram_count));
    setText(records, count(row.told.record_count));
    const lost = LOSSES.filter(([name]) => row.told[name] > 0).map(([name, words]) => `${count(row.told[name])} ${words}`);
    setText(losses, lost.join("; ") || (row.told.datagram_count > 0 ? "none" : row.exporters.length ? "nothing came yet" : "–"));
  }

  /** Show what is set, but never over what a person is writing. */
  fill(field, row) {
    const value = row[field.dataset.field];
    const text = Array.isArray(value) ? value.join(", ") : String(value ?? "");
    if (field.dataset.stored === undefined || field.value === field.dataset.stored) field.value = field.dataset.stored = text;
  }

  async change(event, device, form) {
    event.preventDefault();
    const [exporters, sflow, ipfix, limit] = findAll("[data-field]", form);
    const button = find("button", form);
    button.disabled = true;
    try {
      const rows = await collectorSet(device, { exporters: listed(exporters.value), sflow_port: portOf(sflow), ipfix_port: portOf(ipfix), datagram_rate_max: Number(limit.value) });
      for (const field of [exporters, sflow, ipfix, limit]) delete field.dataset.stored;
      this.show(rows);
      const heard = rows.find((row) => row.device === device)?.exporters.length ?? 0;
      this.say(heard ? `${device} is told to take samples of ${many(heard, "exporter")}.` : `${device} is told to take samples of nobody.`, "ok");
    } catch (error) {
      this.say(error, "error");
    } finally {
      button.disabled = false;
    }
  }
}
