// The one websocket client. Snapshot, then numbered events; who missed one asks for the snapshot again.
//
// States of the stream: "connecting" (never connected yet), "live", "stale" (with the moment since when).
// It never pretends: without a frame for QUIET_LIMIT_MS the stream is stale even while the socket looks open.

const QUIET_LIMIT_MS = 12_000; // the portal pings every 5 s
const REORDER_MS = 120; // two workers may publish out of order by a few milliseconds
const RETRY_FIRST_MS = 400;
const RETRY_LAST_MS = 10_000;
const WAITING_LIMIT = 2_000;
const SETTLE_MS = 2_000;

class Topic {
  constructor(name, onSnapshot, onEvent, onError) {
    Object.assign(this, { name, onSnapshot, onEvent, onError });
    this.reset();
  }

  reset() {
    this.seq = null; // null: waiting for the snapshot
    this.askedAt = Date.now();
    this.snapshotAt = 0;
    this.waiting = new Map();
    this.isRefused = false;
    clearTimeout(this.timer);
    this.timer = null;
  }
}

export class LiveStream {
  /** Args: url of the socket; onStatus({state, sinceMs, reason}) is called on every change of state. */
  constructor(url, onStatus = () => {}) {
    this.url = url;
    this.onStatus = onStatus;
    this.topics = new Map();
    this.socket = null;
    this.attempt = 0;
    this.state = "connecting";
    this.sinceMs = Date.now();
    this.lastFrameMs = 0;
    this.offsetsMs = [];
    this.resyncCount = 0;
    this.droppedCount = 0;
  }

  /** Follow a topic. Call before open() or at any time after. */
  subscribe(name, onSnapshot, onEvent, onError = () => {}) {
    this.topics.set(name, new Topic(name, onSnapshot, onEvent, onError));
    this.send({ subscribe: [name] });
    return this;
  }

  open() {
    this.connect();
    this.watch = setInterval(() => this.checkQuiet(), 1000);
    addEventListener("online", () => this.retryNow());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.retryNow());
    return this;
  }

  /** The portal's clock, in epoch seconds. Only pings and snapshots carry it: events carry the clock of their source. */
  nowS() {
    const offset = this.offsetsMs.length ? Math.min(...this.offsetsMs) : 0;
    return (Date.now() - offset) / 1000;
  }

  connect() {
    clearTimeout(this.retryTimer);
    const socket = new WebSocket(this.url);
    this.socket = socket;
    socket.onopen = () => {
      this.lastFrameMs = Date.now();
      for (const topic of this.topics.values()) topic.reset();
      this.send({ subscribe: [...this.topics.keys()] });
    };
    socket.onmessage = (message) => socket === this.socket && this.receive(message.data);
    socket.onclose = (closed) => socket === this.socket && this.lose(closed);
  }

  send(frame) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(frame));
  }

  setState(state, reason = "") {
    if (state === this.state && reason === this.reason) return;
    if (state !== this.state) this.sinceMs = state === "stale" && this.lastFrameMs ? this.lastFrameMs : Date.now();
    this.state = state;
    this.reason = reason;
    this.onStatus({ state, sinceMs: this.sinceMs, reason });
  }

  lose(closed) {
    this.socket = null;
    for (const topic of this.topics.values()) topic.reset();
    const loggedOut = closed.code === 4401 || closed.code === 4403;
    this.setState("stale", loggedOut ? "logged out" : "no connection to the portal");
    const limit = Math.min(RETRY_LAST_MS, RETRY_FIRST_MS * 2 ** this.attempt);
    this.attempt += 1;
    this.retryTimer = setTimeout(() => this.connect(), limit * (0.5 + Math.random() / 2));
  }

  retryNow() {
    if (this.socket) return;
    this.attempt = 0;
    this.connect();
  }

  checkQuiet() {
    if (!this.socket || this.socket.readyState !== WebSocket.OPEN) return;
    const limit = Date.now() - QUIET_LIMIT_MS;
    const isUnanswered = [...this.topics.values()].some((topic) => topic.seq === null && !topic.isRefused && topic.askedAt < limit);
    if (this.lastFrameMs > limit && !isUnanswered) return;
    this.setState("stale", "the portal is silent");
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    this.lose({ code: 0 });
  }

  receive(text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      this.droppedCount += 1;
      return;
    }
    this.lastFrameMs = Date.now();
    if (typeof frame.at_s === "number" && (frame.type === "ping" || frame.type === "snapshot")) {
      this.offsetsMs.push(this.lastFrameMs - frame.at_s * 1000);
      if (this.offsetsMs.length > 30) this.offsetsMs.shift();
    }
    const topic = this.topics.get(frame.topic);
    if (frame.type === "snapshot" && topic) this.takeSnapshot(topic, frame);
    else if (frame.type === "event" && topic) this.takeEvent(topic, frame);
    else if (frame.type === "error" && topic) this.takeError(topic, frame);
  }

  takeSnapshot(topic, frame) {
    const waiting = [...topic.waiting.values()].sort((one, other) => one.seq - other.seq);
    topic.reset();
    topic.seq = frame.seq;
    topic.snapshotAt = Date.now();
    this.attempt = 0;
    topic.onSnapshot(frame.data, frame.at_s);
    this.checkLive();
    for (const event of waiting) this.takeEvent(topic, event);
  }

  takeError(topic, frame) {
    topic.isRefused = true;
    topic.onError(frame);
    this.checkLive();
  }

  checkLive() {
    if ([...this.topics.values()].every((each) => each.seq !== null || each.isRefused)) this.setState("live");
  }

  takeEvent(topic, frame) {
    if (typeof frame.seq !== "number") {
      if (topic.seq !== null) topic.onEvent(frame.event, frame.data, frame.at_s);
      return;
    }
    if (topic.seq === null) {
      if (topic.waiting.size < WAITING_LIMIT) topic.waiting.set(frame.seq, frame);
      return;
    }
    if (frame.seq <= topic.seq) {
      // Right after a snapshot these are events it already holds; later the numbering has started anew.
      if (Date.now() - topic.snapshotAt > SETTLE_MS) this.resync(topic);
      return;
    }
    topic.waiting.set(frame.seq, frame);
    this.applyWaiting(topic);
    if (topic.waiting.size && !topic.timer) {
      topic.timer = setTimeout(() => this.resync(topic), REORDER_MS);
    }
  }

  applyWaiting(topic) {
    for (let next = topic.waiting.get(topic.seq + 1); next; next = topic.waiting.get(topic.seq + 1)) {
      topic.waiting.delete(next.seq);
      topic.seq = next.seq;
      topic.onEvent(next.event, next.data, next.at_s);
    }
    if (!topic.waiting.size) {
      clearTimeout(topic.timer);
      topic.timer = null;
    }
  }

  resync(topic) {
    const waiting = topic.waiting;
    topic.reset();
    topic.waiting = waiting;
    this.resyncCount += 1;
    this.send({ subscribe: [topic.name] });
  }
}

/** The address of the live socket of this portal. */
export const liveUrl = () => `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/live/`;
