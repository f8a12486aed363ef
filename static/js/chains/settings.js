// The form twin of the drawing: fields of the chain and of the chosen network function. Each field checks itself.

import { find, make, setText } from "../dom.js";
import { PROTOCOLS, REPLANS, changeChain, changeMatch, changeNf, isSame, portsOf } from "./model.js";
import { SETTINGS, TEXTS, warningOf } from "./params.js";

const asNumber = (low, words) => (text) => {
  const value = Number(text.replace(",", "."));
  return text.trim() !== "" && Number.isFinite(value) && value > low ? { value } : { error: words };
};
const asText = (text) => ({ value: text.trim() });
const asIs = (text) => ({ value: text });
const asJson = (text) => {
  try {
    const value = text.trim() ? JSON.parse(text) : {};
    return value && typeof value === "object" && !Array.isArray(value) ? { value } : { error: "must be a JSON object, such as {\"rules\": []}" };
  } catch (error) {
    return { error: `not JSON: ${error.message}` };
  }
};
const optionalNumber = (text) => (text.trim() === "" ? { value: null } : asNumber(0, "must be above 0, or empty for no target")(text));
const asPorts = (text) => {
  const value = portsOf(text);
  return value ? { value } : { error: "ports from 1 to 65535, with commas between them" };
};

const CHAIN_FIELDS = [
  { field: "name", label: "Name", parse: asText, get: (draft) => draft.name, set: (draft, name) => changeChain(draft, { name }), isOnlyNew: true, help: "Small letters, digits and dashes; it cannot be changed later." },
  { field: "title", label: "Title", parse: asText, get: (draft) => draft.title, set: (draft, title) => changeChain(draft, { title }) },
  { field: "rate_pps", label: "Rate", unit: "packets/s", parse: asNumber(0, "must be above 0"), get: (draft) => draft.rate_pps, set: (draft, rate) => changeChain(draft, { rate_pps: rate }), inputMode: "decimal" },
  { field: "slo_p99_ms", label: "p99 latency target", unit: "ms", parse: optionalNumber, get: (draft) => draft.slo_p99_ms, set: (draft, slo) => changeChain(draft, { slo_p99_ms: slo }), inputMode: "decimal", help: "Empty: no target." },
  { field: "packet_bytes", isFolded: true, label: "Mean packet size", unit: "bytes", parse: asNumber(0, "must be above 0"), get: (draft) => draft.packet_bytes, set: (draft, size) => changeChain(draft, { packet_bytes: size }), inputMode: "decimal" },
  { field: "match.src", isFolded: true, label: "Source", parse: asText, get: (draft) => draft.match.src, set: (draft, src) => changeMatch(draft, { src }), help: "Network such as 10.0.0.0/8; empty: any." },
  { field: "match.dst", isFolded: true, label: "Destination", parse: asText, get: (draft) => draft.match.dst, set: (draft, dst) => changeMatch(draft, { dst }) },
  { field: "match.proto", isFolded: true, label: "Protocol", choices: Object.fromEntries(PROTOCOLS.map((name) => [name, name || "any"])), get: (draft) => draft.match.proto, set: (draft, proto) => changeMatch(draft, { proto }) },
  { field: "match.dst_port", isFolded: true, label: "Destination ports", parse: asPorts, format: (ports) => ports.join(", "), get: (draft) => draft.match.dst_port, set: (draft, ports) => changeMatch(draft, { dst_port: ports }), help: "Such as 80, 443; empty: any." },
  { field: "replan", isFolded: true, label: "When measurements drift", choices: REPLANS, get: (draft) => draft.replan, set: (draft, replan) => changeChain(draft, { replan }) },
];

function nfFields(index, types, servers) {
  const nfOf = (draft) => draft.nfs[index];
  const catalogue = (draft) => types.get(nfOf(draft).type)?.service ?? { mean_us: 100, scv: 1, is_waiting: false };
  const serviceOf = (draft) => nfOf(draft).service ?? catalogue(draft);
  const set = (name) => (draft, value) => changeNf(draft, index, { [name]: value });
  const setService = (name) => (draft, value) => changeNf(draft, index, { service: { ...serviceOf(draft), [name]: value } });
  const at = `nfs[${index}]`;
  const places = Object.fromEntries([["", "anywhere"], ...servers.map((name) => [name, name])]);
  return [
    { field: `${at}.name`, label: "Name in this chain", parse: asText, get: (draft) => nfOf(draft).name, set: set("name") },
    { field: `${at}.type`, label: "Type", choices: Object.fromEntries([...types.values()].map((type) => [type.slug, type.title])), get: (draft) => nfOf(draft).type, set: set("type") },
    { field: `${at}.pinned_server`, label: "Server", choices: places, get: (draft) => nfOf(draft).pinned_server, set: set("pinned_server") },
    { field: `${at}.service`, label: "Own service time instead of the catalogue's", isSwitch: true, get: (draft) => Boolean(nfOf(draft).service), set: (draft, isOwn) => changeNf(draft, index, { service: isOwn ? { ...catalogue(draft) } : null }) },
    { field: `${at}.service.mean_us`, label: "Service time, mean", unit: "µs", parse: asNumber(0, "must be above 0"), get: (draft) => serviceOf(draft).mean_us, set: setService("mean_us"), inputMode: "decimal" },
    { field: `${at}.service.scv`, label: "Its variation (scv)", parse: asNumber(-1e-9, "must be 0 or more"), get: (draft) => serviceOf(draft).scv, set: setService("scv"), inputMode: "decimal", help: "0: constant, 1: exponential." },
    { field: `${at}.service.is_waiting`, label: "Waits instead of using a core", isSwitch: true, get: (draft) => serviceOf(draft).is_waiting, set: setService("is_waiting") },
    { field: `${at}.is_state_advisory`, label: "Its state is advisory", isSwitch: true, get: (draft) => nfOf(draft).is_state_advisory, set: set("is_state_advisory"), help: "Allows it beside one that drops: packets stay right, its counters may then include dropped packets. The plan records this." },
    ...Object.entries(TEXTS).flatMap(([runs, names]) => Object.entries(names).map(([name, label]) => ({
      field: `${at}.params.${name}`, label, runs, isLong: true, parse: asIs,
      get: (draft) => nfOf(draft).params[name] ?? "",
      set: (draft, text) => changeNf(draft, index, { params: { ...nfOf(draft).params, [name]: text } }),
    }))),
    { field: `${at}.params`, label: "Parameters (JSON)", isLong: true, parse: asJson, format: (params) => JSON.stringify(params, null, 2), get: (draft) => nfOf(draft).params, set: set("params") },
  ];
}

/** One labelled input that pushes edits and takes values back on undo. */
class FormField {
  constructor(row, push, errors) {
    Object.assign(this, { row, push, errors });
    const id = `field-${row.field.replace(/[^a-z0-9]+/gi, "-")}`;
    this.input = this.makeInput(id);
    this.error = make("p", { class: "field-error", id: `${id}-error` });
    const help = row.help ? make("span", { class: "help", id: `${id}-help` }, row.help) : null;
    this.input.setAttribute("aria-describedby", `${id}-error${help ? ` ${id}-help` : ""}`);
    const label = make("label", { for: id }, row.label, row.unit ? make("span", { class: "soft" }, `, ${row.unit}`) : null);
    const head = row.isSwitch ? [make("div", { class: "field-check" }, this.input, label)] : [label, this.input];
    this.element = make("div", { class: `field ${row.isLong ? "field-long" : ""}`, "data-field": row.field }, ...head, help, this.error);
    this.input.addEventListener(row.choices || row.isSwitch ? "change" : "input", () => this.edit());
    this.input.addEventListener("blur", () => this.push(null));
  }

  makeInput(id) {
    const { row } = this;
    if (row.choices) return make("select", { id }, ...Object.entries(row.choices).map(([value, words]) => make("option", { value }, words)));
    if (row.isSwitch) return make("input", { id, type: "checkbox" });
    if (row.isLong) return make("textarea", { id, rows: 6, spellcheck: "false", class: "number" });
    return make("input", { id, type: "text", inputmode: row.inputMode, autocomplete: "off", spellcheck: "false" });
  }

  read() {
    if (this.row.isSwitch) return { value: this.input.checked };
    return this.row.choices ? { value: this.input.value } : this.row.parse(this.input.value);
  }

  edit() {
    const { value, error } = this.read();
    this.tell(error ?? "");
    if (error) this.errors.set(this.row.field, error);
    else this.errors.delete(this.row.field);
    const words = `${this.row.label.toLowerCase()}`;
    if (error) this.push(null, "", true);
    else this.push((draft) => this.row.set(draft, value), words, false, this.row.choices || this.row.isSwitch ? null : this.row.field);
  }

  tell(words) {
    setText(this.error, words);
    if (words) this.input.setAttribute("aria-invalid", "true");
    else this.input.removeAttribute("aria-invalid");
  }

  /** Take the draft's value, unless the input says the same already. */
  sync(draft, serverWords) {
    const wanted = this.row.get(draft);
    const { value, error } = this.read();
    if (error && document.activeElement === this.input) return;
    if (error || !isSame(value, wanted)) this.write(wanted);
    this.errors.delete(this.row.field);
    this.tell(serverWords);
  }

  write(value) {
    if (this.row.isSwitch) this.input.checked = value;
    else if (this.row.choices) {
      if (![...this.input.options].some((option) => option.value === value)) this.input.append(make("option", { value }, `${value} (unknown)`));
      this.input.value = value;
    } else this.input.value = this.row.format ? this.row.format(value) : value === null ? "" : String(value);
  }
}

/** The forms. push(change, words, isError, foldKey): change is draft -> draft, or null when a field was left. */
export class Settings {
  constructor(chainHolder, nfHolder, push, isNew) {
    Object.assign(this, { chainHolder, nfHolder, push, nfKey: "", nfRows: [] });
    this.errors = new Map();
    this.chainRows = CHAIN_FIELDS.filter((row) => !row.isOnlyNew || isNew).map((row) => new FormField(row, push, this.errors));
    const elements = (isFolded) => this.chainRows.filter((row) => Boolean(row.row.isFolded) === isFolded).map((row) => row.element);
    chainHolder.replaceChildren(...elements(false), make("details", { class: "field-long" }, make("summary", null, "Which packets take it, their size, and what to do on drift"), make("div", { class: "fields" }, ...elements(true))));
  }

  show({ draft, types, servers, selected, wordsOf }) {
    const nf = draft.nfs[selected];
    const key = nf ? JSON.stringify([selected, types.size, servers]) : "";
    if (key !== this.nfKey) {
      this.nfKey = key;
      for (const row of this.nfRows) this.errors.delete(row.row.field);
      this.nfRows = nf ? nfFields(selected, types, servers).map((row) => new FormField(row, this.push, this.errors)) : [];
      this.nfHolder.replaceChildren(...this.nfRows.map((row) => row.element));
    }
    for (const row of [...this.chainRows, ...this.nfRows]) row.sync(draft, wordsOf(row.row.field));
    if (!nf) return;
    for (const row of this.nfRows) {
      if (/\.service\./.test(row.row.field)) row.element.hidden = !nf.service;
    }
    this.showTexts(nf, types.get(nf.type)?.implementation);
    const title = find("#nf-title");
    setText(title, `${selected + 1} ${nf.name}`);
    this.showHint(nf, types.get(nf.type));
  }

  /** A type whose settings are a text gets a field for it; JSON only for what else there is. */
  showTexts(nf, runs) {
    const names = Object.keys(TEXTS[runs] ?? {});
    for (const row of this.nfRows) {
      if (row.row.runs) row.element.hidden = row.row.runs !== runs;
      else if (row.row.isLong) row.element.hidden = names.length > 0 && Object.keys(nf.params).every((name) => names.includes(name));
    }
  }

  /** What can be set in this type, and an example to start from. */
  showHint(nf, type) {
    const row = this.nfRows.find((each) => each.row.isLong && !each.element.hidden);
    const text = row.row.runs ? row.row.field.split(".").at(-1) : "";
    const known = SETTINGS[type?.implementation];
    const key = JSON.stringify([type?.slug, warningOf(nf, type)]);
    if (row.hintKey === key) return;
    row.hintKey = key;
    find(".param-hint", row.element)?.remove();
    const put = () => {
      row.input.value = text ? known.example[text] : JSON.stringify(known.example, null, 2);
      row.edit();
      row.input.focus();
    };
    const warning = warningOf(nf, type);
    row.element.append(make("div", { class: "param-hint help" }, warning ? make("strong", { class: "field-warning" }, `▲ As it stands it ${warning}. `) : "", known ? `${known.words} ` : "What its own program takes.",
      known ? make("button", { class: "button button-small", type: "button", onclick: put }, "Put an example in") : ""));
  }

  focus(field) {
    [...this.chainRows, ...this.nfRows].find((row) => row.row.field === field)?.input.focus();
  }
}
