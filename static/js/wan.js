// The WAN page: one model, kept by snapshot and events; every part is shown from it.

import { find, make, setData, setState, setText, stateChip } from "./dom.js";
import { clock, rate, span } from "./format.js";
import { openLive } from "./live_status.js";
import { call, failureWords } from "./rest.js";
import { announceWords, showFailoverChart, showFailoverTable } from "./wan/failovers.js";
import { showAlarms } from "./wan/alarms.js";
import { showCards } from "./wan/cards.js";
import { GoodputChart, GoodputHistory } from "./wan/goodput.js";
import { showMap } from "./wan/map_picture.js";
import { WanModel } from "./wan/model.js";

const options = find("#wan").dataset;
const canOperate = options.canOperate === "true";
const history = new GoodputHistory();
const model = new WanModel(history);
const chart = new GoodputChart(find("#goodput"), find("#goodput-legend"), history);
let stream = null;
let chartKey = "";

function fail(what, error) {
  find("#failure").replaceChildren(
    make("div", { class: "notice", "data-level": "error" }, stateChip("error", what), make("span", null, failureWords(error))));
}

async function toggleFault(link, does, button) {
  button.disabled = true;
  find("#failure").replaceChildren();
  try {
    if (does === "restore") await call("DELETE", `/api/v1/lab/faults/${encodeURIComponent(link)}/`);
    else await call("POST", "/api/v1/lab/faults/", { link, kind: "blackhole" });
  } catch (error) {
    fail(`${does === "restore" ? "Restore" : "Black hole"} of ${link} not done`, error);
  } finally {
    button.disabled = false;
    button.focus();
  }
}

async function acknowledge(id, button) {
  button.disabled = true;
  find("#failure").replaceChildren();
  try {
    await call("POST", `/api/v1/wan/failovers/${id}/acknowledge/`);
  } catch (error) {
    button.disabled = false;
    fail("Not acknowledged", error);
  }
}

const actions = canOperate && options.labEnabled === "true" ? { toggleFault } : null;

function verdictOf(links, nowS) {
  const bad = links.filter((link) => link.state === "down");
  const notUp = links.filter((link) => link.state !== "up");
  const carry = `${links.length - notUp.length} of ${links.length} links are up.`;
  if (!links.length) return { state: "unknown", words: "No link yet." };
  if (bad.length) {
    const words = `${bad.map((link) => `${link.name} is down since ${clock(link.sinceS)}`).join(", ")}. ${carry}`;
    return { state: bad.length === links.length ? "down" : "degraded", words };
  }
  if (notUp.length) {
    const each = notUp.map((link) => `${link.name}: ${link.state.replace("_", " ")} for ${span(nowS - link.sinceS)}`);
    return { state: "degraded", words: `${each.join(", ")}. ${carry}` };
  }
  return { state: "up", words: `All ${links.length} links are up.` };
}

/** The one line an operator reads first. What is not fresh never looks well. */
function showVerdict(links, nowS, streamStale) {
  const { state, words } = verdictOf(links, nowS);
  const isOld = streamStale || (links.length > 0 && links.every((link) => link.isStale));
  const verdict = find("#verdict");
  setData(verdict, "state", isOld ? "unknown" : state);
  setState(find(".state", verdict), isOld ? "stale" : state, isOld ? "stale" : state === "up" ? "all up" : state);
  setText(find(".verdict-words", verdict), isOld ? `When last heard: ${words}` : words);
  const total = links.reduce((sum, link) => sum + (link.isStale ? 0 : link.goodputBps ?? 0), 0);
  const ceiling = links.reduce((sum, link) => sum + (link.capacityBps ?? 0), 0);
  setText(find(".total", verdict), links.length && !isOld ? `${rate(total)} of ${rate(ceiling)}` : "");
}

function showAgents(nowS) {
  const gone = model.agents.filter((agent) => agent.status !== "online");
  const holder = find("#agents");
  holder.hidden = !gone.length;
  const key = JSON.stringify(gone.map((agent) => [agent.device, agent.status]));
  if (holder.key !== key) {
    holder.key = key;
    holder.replaceChildren(...gone.map((agent) =>
      make("div", { class: "notice", "data-level": "warning", "data-agent": agent.device },
        stateChip(agent.status === "offline" ? "offline" : "unknown", `agent ${agent.status}`), make("span"))));
  }
  gone.forEach((agent, index) => {
    const since = agent.lastSeenS ? ` since ${clock(agent.lastSeenS)} (${span(nowS - agent.lastSeenS)})` : "";
    setText(find("span:last-child", holder.children[index]), `No word from ${agent.device}${since}. It goes on rerouting by itself; what it last reported may be out of date.`);
  });
}

function showFailovers() {
  showFailoverTable(find("#failovers"), find("#failovers-empty"), model.failovers);
  const key = JSON.stringify(model.failovers.map((failover) => [failover.id, failover.detectionMs, failover.actionMs, failover.transportMs, failover.lostMs]));
  if (key === chartKey) return;
  chartKey = key;
  (globalThis.requestIdleCallback ?? setTimeout)(() => showFailoverChart(find("#failover-chart"), model.failovers));
}

/** What must be seen at once: links, alarms, the verdict. */
function showState() {
  const nowS = stream.nowS();
  const links = model.links(nowS);
  const streamStale = stream.state === "stale";
  showCards(find("#links"), links, { nowS, streamStale, actions });
  showAlarms(find("#alarms"), model.failovers, canOperate ? acknowledge : null);
  showVerdict(links, nowS, streamStale);
  return { links, nowS };
}

/** Everything else, once a second and after events. */
function showRest({ links, nowS }) {
  showAgents(nowS);
  showMap(find("#map-picture"), model.subnets, links);
  showFailovers();
  setText(find("#map-epoch"), model.epochWords);
  const stale = stream.state === "stale";
  setText(find("#goodput-stale"), stale ? `Stale since ${clock(stream.sinceMs / 1000)}: nothing newer is drawn.` : "");
  find("#goodput-stale").hidden = !stale;
}

/** Marks the frame in which a changed state was painted; the benchmark of painting reads them. */
function markPainted(name) {
  performance.mark(`wan:applied:${name}`);
  requestAnimationFrame(() => setTimeout(() => performance.mark(`wan:painted:${name}`)));
}

function takeSnapshot(data, atS) {
  model.load(data, atS);
  const shown = showState();
  showRest(shown);
  chart.show(shown.links, shown.nowS);
  setData(find("#wan"), "loaded", "true");
}

function takeEvent(event, data, atS) {
  const failover = model.apply(event, data, atS);
  const shown = showState();
  if (event === "telemetry") return;
  markPainted(event);
  if (failover) setText(find("#announce"), announceWords(failover));
  showRest(shown);
}

function tick() {
  if (!model.isLoaded) return;
  const shown = showState();
  showRest(shown);
  if (stream.state !== "stale") chart.show(shown.links, shown.nowS);
}

function redraw() {
  chartKey = "";
  tick();
  if (model.isLoaded) chart.show(model.links(stream.nowS()), stream.nowS());
}

stream = openLive((made) => {
  stream = made;
  made.subscribe("wan", takeSnapshot, takeEvent, (error) => fail("No live data", new Error(error.message)));
});
setInterval(tick, 1000);
addEventListener("livechange", tick);
addEventListener("themechange", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
