// What the page knows about the WAN: loaded from the snapshot, kept by events. The shapes are those of apps/wan/events.py.

import { moment } from "../format.js";

const STALE_AFTER_S = 3; // the gateways measure four times a second
const FAILOVER_LIMIT = 50;

const valueOr = (value, otherwise = null) => (value === undefined ? otherwise : value);

/** A failover in the page's names. */
export function failoverOf(row) {
  return {
    id: row.id,
    link: row.link,
    direction: valueOr(row.direction, ""),
    detectedAtS: valueOr(row.detected_at_s),
    detectionMs: valueOr(row.detection_ms),
    actionMs: valueOr(row.action_ms),
    transportMs: valueOr(row.transport_ms),
    lostMs: valueOr(row.lost_ms),
    stallMs: valueOr(row.stall_ms),
    moves: row.moves ?? [],
    restoredAtS: valueOr(row.restored_at_s),
    acknowledgedAtS: valueOr(row.acknowledged_at_s),
    acknowledgedBy: valueOr(row.acknowledged_by, ""),
  };
}

export class WanModel {
  constructor(history) {
    this.history = history;
    this.isLoaded = false;
    this.linkRows = new Map();
    this.subnetRows = [];
    this.mapping = {};
    this.subflows = [];
    this.failovers = [];
    this.agents = [];
    this.faults = {};
    this.epoch = null;
  }

  load(data, atS) {
    this.isLoaded = true;
    this.linkRows = new Map((data.links ?? []).map((row) => [row.name, { ...row }]));
    this.subnetRows = data.virtual_subnets ?? [];
    this.takeMap(data.map);
    this.subflows = data.subflows ?? [];
    this.agents = (data.agents ?? []).map(agentOf);
    this.failovers = (data.failovers ?? []).map(failoverOf);
    this.history.clear();
    for (const row of data.goodput ?? []) this.history.add(row.link, row.at_s, row.bps);
  }

  takeMap(map) {
    if (!map) return;
    this.mapping = map.mapping ?? {};
    this.epoch = map;
  }

  /** Take one event; returns the failover when a new one began. */
  apply(event, data, atS) {
    if (event === "telemetry") {
      for (const row of Object.values(data)) this.takeMeasurement(row, atS);
      return null;
    }
    if (data.link && typeof data.link === "object") this.mergeLink(data.link);
    this.takeMap(data.map);
    if (data.agent) this.mergeAgent(agentOf(data.agent));
    if (data.subflows) this.subflows = data.subflows;
    return data.failover ? this.mergeFailover(failoverOf(data.failover)) : null;
  }

  mergeLink(row) {
    this.linkRows.set(row.name, { ...this.linkRows.get(row.name), ...row });
  }

  takeMeasurement(row, atS) {
    this.mergeLink(row);
    this.history.add(row.name, row.at_s ?? atS, row.goodput_bps);
  }

  mergeAgent(agent) {
    const index = this.agents.findIndex((known) => known.device === agent.device);
    if (index < 0) this.agents.push(agent);
    else this.agents[index] = agent;
  }

  mergeFailover(failover) {
    const index = this.failovers.findIndex((known) => known.id === failover.id);
    if (index >= 0) {
      this.failovers[index] = failover;
      return null;
    }
    this.failovers = [failover, ...this.failovers]
      .sort((one, other) => other.detectedAtS - one.detectedAtS)
      .slice(0, FAILOVER_LIMIT);
    return failover;
  }

  /** Which map is in force, and why. */
  get epochWords() {
    if (!this.epoch) return "";
    const actor = this.epoch.actor ? ` by ${this.epoch.actor}` : "";
    return `map ${this.epoch.number}${this.epoch.reason ? `: ${this.epoch.reason}` : ""}${actor}, ${moment(this.epoch.at_s)}`;
  }

  /** Virtual subnets with the link each rides on now. */
  get subnets() {
    return this.subnetRows.map((row) => ({
      index: row.index,
      prefix: row.prefix,
      isDefault: Boolean(row.is_default),
      link: this.mapping[String(row.index)] ?? "",
    }));
  }

  /** Links with everything a card shows. */
  links(nowS) {
    const subnets = this.subnets;
    return [...this.linkRows.values()].map((row) => ({
      name: row.name,
      provider: row.provider ?? "",
      state: row.state ?? "unknown",
      direction: row.direction ?? "",
      sinceS: valueOr(row.since_s),
      capacityBps: valueOr(row.capacity_bps),
      delayMs: valueOr(row.delay_ms),
      goodputBps: valueOr(row.goodput_bps),
      rttMs: valueOr(row.rtt_ms),
      jitterMs: valueOr(row.jitter_ms),
      lossRatio: valueOr(row.loss_ratio),
      measuredAtS: valueOr(row.at_s),
      isStale: !row.at_s || nowS - row.at_s > STALE_AFTER_S,
      fault: row.fault ?? "",
      subnets: subnets.filter((subnet) => subnet.link === row.name),
      subflows: this.subflows.filter((flow) => flow.link === row.name).map(subflowOf),
    }));
  }
}

const agentOf = (row) => ({ device: row.device, status: row.status, lastSeenS: valueOr(row.last_seen_s) });

const subflowOf = (row) => ({ local: row.local, remote: row.remote, words: row.rtt_ms ? `RTT ${row.rtt_ms.toFixed(0)} ms` : "" });
