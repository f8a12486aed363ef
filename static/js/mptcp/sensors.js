// Which interface of which gateway is sampled: a row per device, changed in place by who may.

import { make, setText } from "../dom.js";
import { percent } from "../format.js";
import { sensorSet, sensors } from "./api.js";
import { DeviceTable, isSilent, silentSince } from "./device_table.js";
import { count } from "./words.js";

const COLUMNS = [["looks at"], ["share of the packets"], ["packets", "figure"], ["dropped", "figure"], [""]];
const RATIOS = [1, 0.1, 0.01, 0.001];

function choice(name, device, options, chosen) {
  return make("select", { "aria-label": `${name} of ${device}`, "data-choice": name }, options.map(([value, words]) => make("option", { value, selected: value === chosen }, words)));
}

export class SensorTable extends DeviceTable {
  /** Args: see DeviceTable. */
  constructor(canOperate, nowS, say) {
    super("sensor", COLUMNS, sensors, canOperate, nowS, say);
  }

  fillIn(element, row) {
    const where = choice("interface", row.device, [["", "nothing"], ...row.interfaces.map((name) => [name, name])], row.interface ?? "");
    const ratios = [...new Set([...RATIOS, row.sampling_ratio ?? 0.01])].sort((one, other) => other - one);
    const share = choice("share", row.device, ratios.map((ratio) => [String(ratio), percent(ratio)]), String(row.sampling_ratio ?? 0.01));
    const button = this.button(row, { class: "button button-small", type: "button" });
    button.addEventListener("click", () => this.change(row.device, where, share, button));
    element.cells[2].append(where);
    element.cells[3].append(share);
    element.cells[6].append(button);
  }

  stateOf(row, nowS) {
    if (row.status !== "online") return [row.status, row.status, ""];
    if (row.error) return ["failed", "not sampling", row.error];
    if (row.interface && row.told.is_up === false) return ["failed", "not sampling", `${row.interface} is down or gone`];
    if (row.interface && row.told_at_s === null) return ["running", "not heard yet", ""];
    if (row.interface && isSilent(row, nowS)) return silentSince(row);
    return ["online", "online", ""];
  }

  update(element, row) {
    const [, , where, share, packets, dropped] = element.cells;
    if (!this.canOperate) {
      setText(where, row.interface ?? "nothing");
      setText(share, row.interface ? percent(row.sampling_ratio) : "–");
    }
    setText(packets, count(row.told.packet_count));
    setText(dropped, count((row.told.kernel_drop_count ?? 0) + (row.told.own_drop_count ?? 0)));
  }

  change(device, where, share, button) {
    const ratio = Number(share.value);
    return this.tell(button, () => sensorSet(device, where.value ? { interface: where.value, sampling_ratio: ratio } : { interface: null }),
      () => (where.value ? `${device} is told to look at ${percent(ratio)} of the packets of ${where.value}.` : `${device} is told to look at nothing.`));
  }
}
