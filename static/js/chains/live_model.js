// What the portal says of one chain: loaded from the snapshot, kept by events. The shapes are those of apps/chains/events.py.

const HISTORY_LIMIT = 1000;
const ALARM_LIMIT = 20;
const STALE_AFTER_S = 5; // counters come once a second

export class LiveChain {
  constructor() {
    this.isLoaded = false;
    this.chain = null;
    this.clear();
  }

  clear() {
    Object.assign(this, { plan: null, livePlan: null, deployment: null, hops: [], newest: null, history: [], alarms: [], trace: null, traceEpoch: null, isRemoved: false, before: null });
  }

  load(data) {
    this.clear();
    this.isLoaded = true;
    Object.assign(this, { chain: data.chain, plan: data.plan ?? null, livePlan: data.live_plan ?? null, deployment: data.deployment ?? null, hops: data.hops ?? [], alarms: data.alarms ?? [] });
    this.newest = data.latency?.newest ?? null;
    this.history = data.latency?.history ?? [];
  }

  apply(event, data) {
    if (event === "telemetry") {
      for (const [name, value] of Object.entries(data)) this.take(name, value);
      return;
    }
    this.take(event, data);
  }

  take(event, data) {
    if (event === "chain_changed") this.chain = data.chain;
    else if (event === "chain_removed") this.isRemoved = true;
    else if (event === "plan_ready") this.plan = data.plan;
    else if (event === "deployment_changed") this.takeDeployment(data);
    else if (event === "alarm") this.takeAlarm(data.alarm);
    else if (event === "trace_ready") this.takeTrace(data.trace);
    else if (event === "hops") this.hops = data.rows ?? [];
    else if (event === "latency") this.takeLatency(data);
  }

  takeDeployment(data) {
    if (data.deployment?.epoch !== this.deployment?.epoch) this.hops = [];
    this.deployment = data.deployment;
    this.livePlan = data.live_plan ?? null;
    if (this.chain) this.chain = { ...this.chain, deployment: data.deployment };
  }

  /** A trace belongs to the epoch that is live when it comes. */
  takeTrace(trace) {
    this.trace = trace;
    this.traceEpoch = this.deployment?.epoch ?? null;
  }

  takeAlarm(alarm) {
    const others = this.alarms.filter((known) => known.id !== alarm.id);
    this.alarms = [alarm, ...others].sort((one, other) => other.id - one.id).slice(0, ALARM_LIMIT);
  }

  takeLatency(point) {
    if (this.newest && this.newest.epoch === point.epoch && point.at_s > this.newest.at_s) this.before = this.newest;
    else if (this.newest?.epoch !== point.epoch) this.before = null;
    this.newest = point;
    this.history = [...this.history.filter((known) => known.at_s !== point.at_s), point].slice(-HISTORY_LIMIT);
  }

  /** Packets that went in, came out and were given up between the two newest seconds; null while there is only one. */
  get flow() {
    const [one, other] = [this.before?.counters, this.newest?.counters];
    return one && other ? { in: other.in - one.in, out: other.out - one.out, timedOut: (other.timed_out ?? 0) - (one.timed_out ?? 0) } : null;
  }

  get openAlarms() {
    return this.alarms.filter((alarm) => alarm.cleared_at_s === null);
  }

  get isLive() {
    return this.livePlan !== null;
  }

  /** draft, planned, or what the deployment that counts says. */
  get status() {
    const { deployment } = this;
    if (deployment && (deployment.is_active || ["pending", "applying", "live", "failed", "removed"].includes(deployment.status))) return deployment.status;
    return this.plan ? "planned" : "draft";
  }

  /** Whether measurements of now are there; nowS is the portal's clock. */
  isFresh(nowS) {
    return this.newest !== null && nowS - this.newest.at_s <= STALE_AFTER_S;
  }
}
