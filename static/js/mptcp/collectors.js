// Whose samples (sFlow, IPFIX) each collector takes: a row per device, what came and what was dropped and why.

import { find, findAll, make, setText } from "../dom.js";
import { collectorSet, collectors } from "./api.js";
import { DeviceTable, isSilent, silentSince } from "./device_table.js";
import { count, many } from "./words.js";

const COLUMNS = [["takes samples of", "heard"], ["datagrams", "figure"], ["records", "figure"], ["dropped, and why", "losses small"]];
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

export class CollectorTable extends DeviceTable {
  /** Args: see DeviceTable. */
  constructor(canOperate, nowS, say) {
    super("collector", COLUMNS, collectors, canOperate, nowS, say);
  }

  fillIn(element, row) {
    element.cells[2].append(this.form(row));
  }

  stateOf(row, nowS) {
    if (row.status !== "online") return [row.status, row.status, ""];
    if (row.error) return ["failed", "not listening", row.error];
    if (!row.exporters.length) return ["unknown", "hears nobody", ""];
    if (!row.is_applied || row.told_at_s === null) return ["running", "being told", ""];
    if (isSilent(row, nowS)) return silentSince(row);
    const ports = [["sFlow", row.told.sflow_port], ["IPFIX", row.told.ipfix_port]].filter(([, port]) => port);
    return ["online", "listening", ports.map(([name, port]) => `${name} at ${port}`).join(", ")];
  }

  form(row) {
    const { device } = row;
    const field = (tag, name, words, more) => {
      const id = `${name}-of-${device}`;
      return make("div", { class: "field" }, make("label", { for: id, class: "small" }, words, make("span", { class: "visually-hidden" }, ` of ${device}`)), make(tag, { id, "data-field": name, ...more }));
    };
    const port = { type: "number", min: 1, max: 65535, placeholder: "none" };
    const form = make("form", { class: "collector-form" },
      field("textarea", "exporters", "Exporters: addresses, networks", { rows: 2, maxlength: EXPORTERS_MAX_CHARACTERS, spellcheck: "false", placeholder: "192.0.2.1, 198.51.100.0/24" }),
      field("input", "sflow_port", "sFlow port", port), field("input", "ipfix_port", "IPFIX port", port),
      field("input", "datagram_rate_max", "At most a second, each", { type: "number", min: 1, max: 100000, required: true }),
      this.button(row, { class: "button", type: "submit" }));
    form.addEventListener("submit", (event) => this.change(event, device, form));
    return form;
  }

  update(element, row) {
    const [, , heard, datagrams, records, losses] = element.cells;
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

  change(event, device, form) {
    event.preventDefault();
    const [exporters, sflow, ipfix, limit] = findAll("[data-field]", form);
    const told = { exporters: listed(exporters.value), sflow_port: portOf(sflow), ipfix_port: portOf(ipfix), datagram_rate_max: Number(limit.value) };
    return this.tell(find("button", form), async () => {
      const rows = await collectorSet(device, told);
      for (const field of [exporters, sflow, ipfix, limit]) delete field.dataset.stored;
      return rows;
    }, (rows) => {
      const heard = rows.find((row) => row.device === device)?.exporters.length ?? 0;
      return heard ? `${device} is told to take samples of ${many(heard, "exporter")}.` : `${device} is told to take samples of nobody.`;
    });
  }
}
