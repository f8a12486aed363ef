// Which interface of which gateway is sampled: a row per device, changed in place by who may.

import { find, findAll, make, setState, setText, stateChip } from "../dom.js";
import { clock, percent } from "../format.js";
import { sensorSet, sensors } from "./api.js";
import { count } from "./words.js";

const ASK_EVERY_MS = 5000;
const SILENT_S = 10;
const RATIOS = [1, 0.1, 0.01, 0.001];

function choice(name, device, options, chosen) {
  return make("select", { "aria-label": `${name} of ${device}`, "data-choice": name }, options.map(([value, words]) => make("option", { value, selected: value === chosen }, words)));
}

export class SensorTable {
  /** Args: canOperate, whether this person may change sensors; nowS(), the portal's time; say(words, level) tells how a change ended. */
  constructor(canOperate, nowS, say) {
    Object.assign(this, { canOperate, nowS, say });
    this.ask();
    setInterval(() => document.visibilityState === "visible" && this.ask(), ASK_EVERY_MS);
  }

  ask() {
    sensors().then((rows) => this.show(rows), () => {}); // the live indicator tells when the portal is away
  }

  show(rows) {
    const body = find("#sensors");
    const known = new Map(findAll("[data-sensor]", body).map((element) => [element.dataset.sensor, element]));
    for (const row of rows) {
      let element = known.get(row.device);
      if (!element) body.append((element = this.row(row)));
      known.delete(row.device);
      this.update(element, row);
    }
    for (const gone of known.values()) gone.remove();
    find("#sensors-empty").hidden = rows.length > 0;
  }

  row(row) {
    const element = make("tr", { "data-sensor": row.device }, make("th", { scope: "row" }, row.device), make("td", null, stateChip("unknown"), make("div", { class: "small soft why" })), make("td"), make("td"), make("td", { class: "figure" }), make("td", { class: "figure" }), make("td"));
    if (this.canOperate) {
      const where = choice("interface", row.device, [["", "nothing"], ...row.interfaces.map((name) => [name, name])], row.interface ?? "");
      const ratios = [...new Set([...RATIOS, row.sampling_ratio ?? 0.01])].sort((one, other) => other - one);
      const share = choice("share", row.device, ratios.map((ratio) => [String(ratio), percent(ratio)]), String(row.sampling_ratio ?? 0.01));
      const button = make("button", { class: "button button-small", type: "button" }, "Set", make("span", { class: "visually-hidden" }, ` the sensor of ${row.device}`));
      button.addEventListener("click", () => this.change(row.device, where, share, button));
      element.cells[2].append(where);
      element.cells[3].append(share);
      element.cells[6].append(button);
    }
    return element;
  }

  update(element, row) {
    const [, agent, where, share, packets, dropped] = element.cells;
    const why = row.error || (row.interface && row.told.is_up === false ? `${row.interface} is down or gone` : "");
    const isHere = row.status === "online";
    const isSilent = row.interface && row.told_at_s !== null && this.nowS() - row.told_at_s > SILENT_S;
    const isNew = row.interface && row.told_at_s === null;
    const chip = !isHere ? [row.status, row.status] : why ? ["failed", "not sampling"] : isSilent ? ["stale", "silent"] : isNew ? ["running", "not heard yet"] : ["online", "online"];
    setState(find(".state", agent), ...chip);
    setText(find(".why", agent), !isHere ? "" : why || (isSilent ? `since ${clock(row.told_at_s)}` : ""));
    if (!this.canOperate) {
      setText(where, row.interface ?? "nothing");
      setText(share, row.interface ? percent(row.sampling_ratio) : "–");
    }
    setText(packets, count(row.told.packet_count));
    setText(dropped, count((row.told.kernel_drop_count ?? 0) + (row.told.own_drop_count ?? 0)));
  }

  async change(device, where, share, button) {
    button.disabled = true;
    try {
      this.show(await sensorSet(device, where.value ? { interface: where.value, sampling_ratio: Number(share.value) } : { interface: null }));
      this.say(where.value ? `${device} is told to look at ${percent(Number(share.value))} of the packets of ${where.value}.` : `${device} is told to look at nothing.`, "ok");
    } catch (error) {
      this.say(error, "error");
    } finally {
      button.disabled = false;
    }
  }
}
