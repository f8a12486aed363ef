// The page of one chain: what it does now, the drawing board, the proposal, and its past.

import { find, make, setText, stateChip } from "../dom.js";
import { clock } from "../format.js";
import { openLive } from "../live_status.js";
import { failureWords } from "../rest.js";
import { apply, chainDelete, nfTypes, plan, remove, rollback, trace } from "./api.js";
import { showBranches, showHistory, showSpread } from "./charts.js";
import { showHistograms } from "./histograms.js";
import { Editor } from "./editor.js";
import { JobsLine } from "./jobs_line.js";
import { LiveChain } from "./live_model.js";
import { showAlarms, showDeployment, showHops, showLiveGraph, showMeasured, showTrace, showVerdict, verdictOf } from "./live_panel.js";
import { PastPanel } from "./past_panel.js";
import { readOnlyChain } from "./read_only.js";
import { packetRate } from "./words.js";

const options = find("#chain").dataset;
const canOperate = options.canOperate === "true";
const { name } = options;
const model = new LiveChain();
let stream = null;
let jobsLine = null;
let chartsQueued = false;

function fail(what, error) {
  find("#failure").replaceChildren(make("div", { class: "notice", "data-level": "error" }, stateChip("error", what), make("span", null, failureWords(error))));
}

/** A new chain gets an address with its first save. */
function onSaved(chain) {
  if (name) return;
  editor.history.reset(editor.draft);
  location.assign(`/chains/${encodeURIComponent(chain.name)}/`);
}

const editor = canOperate ? new Editor({ name, onSaved }) : null;
const past = name ? new PastPanel(name, canOperate ? { apply: (id, version) => askApply(id, version), restored: (chain) => editor.takeNews(chain) } : null) : null;

async function loadTypes() {
  try {
    const types = await nfTypes();
    editor?.takeTypes(types);
    drawSample();
  } catch (error) {
    fail("Catalogue not loaded", error);
    setTimeout(loadTypes, 5000);
  }
}

/** /chains/new/?draw=vpn,monitor,... begins with these types; undo takes them back. */
function drawSample() {
  const wanted = new URLSearchParams(location.search).get("draw")?.split(",") ?? [];
  if (name || !editor || editor.draft.nfs.length) return;
  for (const type of wanted) if (editor.types.has(type)) editor.add(type);
}

// Operations: each is a job, shown to its end.

async function runPlan() {
  find("#failure").replaceChildren();
  if (editor.history.isDirty && !(await editor.save())) return;
  const job = await jobsLine.run("Plan", () => plan(name));
  if (job?.state === "succeeded") find("#planned").scrollIntoView({ block: "nearest" });
}

function askApply(planId, version) {
  const dialog = find("#confirm-apply");
  const isOld = version !== undefined && version !== model.chain.version;
  const how = model.isLive ? `goes to the devices beside plan ${model.livePlan.id}; new packets take it once every device is ready, then plan ${model.livePlan.id} is taken away` : "goes to the devices; packets take it once every device is ready";
  setText(find(".confirm-words", dialog), `Plan ${planId} of ${name} ${how}.${isOld ? ` Beware: it was made from version ${version}; the chain is now at version ${model.chain.version}.` : ""}`);
  dialog.returnValue = "";
  dialog.onclose = () => dialog.returnValue === "yes" && jobsLine.run(`Apply plan ${planId}`, () => apply(planId));
  dialog.showModal();
}

function askRemove() {
  const dialog = find("#confirm-remove");
  dialog.returnValue = "";
  dialog.onclose = () => dialog.returnValue === "yes" && jobsLine.run("Take off the devices", () => remove(name));
  dialog.showModal();
}

function askDelete() {
  const dialog = find("#confirm-delete");
  dialog.returnValue = "";
  dialog.onclose = async () => {
    if (dialog.returnValue !== "yes") return;
    try {
      await chainDelete(name, model.chain.version);
      editor.history.reset(editor.draft);
      location.assign("/chains/");
    } catch (error) {
      fail("Not deleted", error);
    }
  };
  dialog.showModal();
}

async function runTrace() {
  const job = await jobsLine.run("Trace one packet", () => trace(name));
  if (job?.state !== "succeeded" || !job.result?.hops) return;
  setText(find("#job-line .job-words"), `packet ${job.result.packet_id ?? "–"}, ${job.result.hops.length} hops: see the path below`);
  model.takeTrace({ packet_id: null, at_s: stream.nowS(), ...job.result });
  show();
  find("#trace").scrollIntoView({ block: "nearest" });
}

const OPERATIONS = {
  plan: runPlan,
  apply: () => askApply(model.plan.id, model.plan.chain_version),
  rollback: () => jobsLine.run("Roll back", () => rollback(name)),
  trace: runTrace,
  remove: askRemove,
  delete: askDelete,
};

/** Whether a change of this chain is on its way to the devices. */
const isApplying = () => ["pending", "applying"].includes(model.status);

/** Which operations make sense now. */
function showOperations() {
  if (!canOperate || !name) return;
  const { deployment, plan: newest } = model;
  const isBusy = jobsLine.isBusy || isApplying();
  const can = {
    plan: editor.version !== null && !editor.problems().length,
    apply: newest?.kind === "plan" && newest.id !== model.livePlan?.id,
    rollback: Boolean(deployment?.is_active && deployment.previous),
    trace: model.isLive,
    remove: model.isLive,
    delete: model.isLoaded && !model.isLive,
  };
  for (const [operation, isPossible] of Object.entries(can)) find(`[data-operation="${operation}"]`).disabled = isBusy || !isPossible;
  setText(find('[data-operation="plan"] .words'), editor.history.isDirty ? "Save and plan" : "Plan");
  setText(find('[data-operation="apply"] .words'), newest?.kind === "plan" ? `Apply plan ${newest.id}` : "Apply");
}

// What is shown.

function showPlanned() {
  const { plan: newest } = model;
  const holder = find("#planned");
  const isShown = Boolean(newest) && newest.id !== model.livePlan?.id && !isApplying();
  holder.hidden = !isShown;
  if (!isShown) return;
  const key = JSON.stringify([newest.id, model.chain.version]);
  if (holder.plannedKey === key) return;
  holder.plannedKey = key;
  const isOld = newest.chain_version !== model.chain.version;
  const isPlan = newest.kind === "plan";
  const link = make("a", { href: `/chains/plans/${newest.id}/` }, `Plan ${newest.id}`);
  const words = isPlan ? ` is ready to be applied${newest.note ? `; made because of ${newest.note}` : ""}.` : `: ${newest.witness}`;
  holder.replaceChildren(make("div", { class: "notice", "data-level": isPlan ? (isOld ? "warning" : "ok") : "error", "data-planned": newest.kind },
    stateChip(isPlan ? (isOld ? "warning" : "info") : "failed", isPlan ? (isOld ? "plan of an older version" : "planned") : "no plan"), make("span", null, link, words)));
}

function drawCharts() {
  chartsQueued = false;
  if (!model.isLive || document.visibilityState === "hidden") return;
  const sloMs = model.chain.slo_p99_ms;
  const isDrawn = showSpread(find("#spread"), model.newest, model.livePlan, sloMs);
  if (!isDrawn) setText(find("#spread .empty"), "No packet measured yet.");
  showBranches(find("#branches"), model.hops, model.livePlan);
  if (!showHistograms(find("#histograms"), find("#histograms-table"), model.hops)) setText(find("#histograms .empty"), "No packet measured in the last second.");
  showHistory(find("#latency-history"), model.history, sloMs);
  const isOld = stream.state === "stale" || !model.isFresh(stream.nowS());
  find("#charts-stale").hidden = !isOld;
  setText(find("#charts-stale"), isOld && model.newest ? `Stale: nothing newer than ${clock(model.newest.at_s)} is drawn.` : "");
}

function queueCharts() {
  if (chartsQueued || !model.isLive) return;
  chartsQueued = true;
  (globalThis.requestIdleCallback ?? setTimeout)(drawCharts, { timeout: 500 });
}

function show() {
  if (!model.isLoaded) return;
  const nowS = stream.nowS();
  const isStale = stream.state === "stale";
  const isFresh = !isStale && model.isFresh(nowS);
  const rate = isFresh ? `${packetRate(model.newest.rate_pps)}, planned for ${packetRate(model.livePlan?.rate_pps ?? model.chain.rate_pps)}` : `planned for ${packetRate(model.chain.rate_pps)}`;
  showVerdict(find("#verdict"), verdictOf(model, nowS, isStale), rate);
  showAlarms(find("#alarms"), model.openAlarms);
  find("#live").hidden = !model.isLive;
  find("#deployment-panel").hidden = !model.deployment;
  showDeployment(find("#deployment"), model.deployment);
  if (model.isLive) {
    showLiveGraph(find("#live-graph"), model);
    showMeasured(find("#measured"), model, isStale ? Infinity : nowS);
    showHops(find("#hops"), model, nowS);
  }
  showTrace(find("#trace"), find("#live-graph"), model);
  showPlanned();
  showOperations();
  past?.refresh(JSON.stringify([model.plan?.id, model.chain.version, model.livePlan?.id]), model.livePlan?.id);
}

function takeSnapshot(data) {
  const before = model.chain?.version;
  model.load(data);
  setText(find("#chain-title"), data.chain.title || data.chain.name);
  if (!editor) readOnlyChain(data.chain, model.plan);
  else if (editor.version === null) editor.takeChain(data.chain);
  else if (before !== data.chain.version) editor.takeNews(data.chain);
  show();
  queueCharts();
  find("#chain").dataset.loaded = "true";
}

function takeEvent(event, data) {
  model.apply(event, data);
  if (event === "chain_changed") {
    setText(find("#chain-title"), data.chain.title || data.chain.name);
    if (editor) editor.takeNews(data.chain);
    else readOnlyChain(data.chain, model.plan);
  }
  if (event === "plan_ready" && !editor) readOnlyChain(model.chain, model.plan);
  if (event === "alarm" && data.alarm.cleared_at_s === null) setText(find("#announce"), `Alarm: ${data.alarm.message}`);
  if (model.isRemoved) fail("Deleted", new Error("somebody deleted this chain"));
  show();
  queueCharts();
}

function redraw() {
  if (model.isLive) drawCharts();
}

function start() {
  stream = openLive((made) => {
    stream = made;
    const refused = (error) => fail("No live data", new Error(error.message));
    if (name) made.subscribe(`chain:${name}`, takeSnapshot, takeEvent, refused);
    else made.subscribe("chains", () => {}, () => {}, refused);
  });
  jobsLine = new JobsLine(find("#job-line"), stream);
  for (const [operation, run] of Object.entries(OPERATIONS)) find(`[data-operation="${operation}"]`)?.addEventListener("click", run);
  if (editor && !name) {
    editor.offerKept();
    editor.changed();
    find("#chain").dataset.loaded = "true";
  }
  if (canOperate) loadTypes();
  setInterval(show, 1000);
  for (const event of ["livechange", "chainbusy", "chaindraft"]) addEventListener(event, () => (event === "livechange" ? show() : showOperations()));
  addEventListener("themechange", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

start();
