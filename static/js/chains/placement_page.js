// Where all chains would run together: state first, then why, servers, chains, and what was before.

import { find, make, setData, setState, setText, stateChip } from "../dom.js";
import { moment, percent, rate, span } from "../format.js";
import { openLive } from "../live_status.js";
import { failureWords } from "../rest.js";
import { place, placementGet, placements } from "./api.js";
import { JobsLine } from "./jobs_line.js";
import { count, duration, packetRate } from "./words.js";

const TERMS = [
  ["missed", "weight of refused chains", (value) => value.toFixed(1)],
  ["crossed", "servers that packets cross, over all chains", (value) => value.toFixed(2)],
  ["mean_us", "mean latency of a packet", duration],
  ["copies", "instances that run", count],
];
const REASONS = { slo: "target", pin: "pinned", single: "one instance", link: "link", capacity: "capacity" };
let shownId = null;

const figure = (...children) => make("td", { class: "figure" }, ...children);
const named = (name) => make("th", { scope: "row" }, make("a", { href: `/chains/${encodeURIComponent(name)}/` }, name));

function fail(error) {
  find("#failure").replaceChildren(make("div", { class: "notice", "data-level": "error" }, stateChip("error", "not loaded"), make("span", null, failureWords(error))));
}

function bar(label, value, most, words) {
  return make("td", null, make("div", { class: "load-bar" }, make("progress", { max: most || 1, value: Math.min(value, most || 1), "aria-label": label }), make("span", { class: "number" }, words)));
}

function showVerdict(placement) {
  const holder = find("#verdict");
  const made = `Made ${moment(Date.parse(placement.created_at) / 1000)}${placement.created_by ? ` by ${placement.created_by}` : ""} in ${span(placement.took_s)}.`;
  const refused = placement.refused.length;
  if (placement.kind === "infeasible") {
    setData(holder, "state", "down");
    setState(find(".state", holder), "failed", "no placement");
    setText(find(".verdict-words", holder), `${placement.witness} ${made}`);
    return;
  }
  setData(holder, "state", refused ? "degraded" : "up");
  setState(find(".state", holder), refused ? "degraded" : "up", refused ? `${refused} refused` : "all admitted");
  const moved = placement.previous ? ` ${count(placement.moved_buckets)} of ${count(placement.moved_buckets + placement.kept_buckets)} flow buckets moved from placement ${placement.previous}.` : "";
  setText(find(".verdict-words", holder), `${placement.admitted} of ${placement.admitted + refused} chains have a place; every admitted chain is predicted to keep its p99 target.${moved} ${made}`);
  setText(find(".total", holder), `placement ${placement.id}`);
}

function showTerms(placement) {
  find("#terms").replaceChildren(...TERMS.map(([name, words, format]) => make("tr", { "data-term": name }, make("th", { scope: "row" }, words),
    figure(format(placement.terms[name])), figure(format(placement.bounds[name])), figure(placement.gaps[name] < 1e-9 ? "none: proven best" : percent(placement.gaps[name])))));
}

function showServers(placement) {
  find("#servers").replaceChildren(...placement.servers.map((server) => make("tr", { "data-server": server.name }, make("th", { scope: "row" }, server.name),
    bar(`${server.name}: cores given to instances`, server.cores_owned, server.cores, `${server.cores_owned.toFixed(1)} of ${server.cores.toFixed(1)} cores`),
    bar(`${server.name}: cores busy`, server.cores_busy, server.cores, `${server.cores_busy.toFixed(2)} of ${server.cores.toFixed(1)} cores`),
    bar(`${server.name}: link`, server.link_used_bps, server.link_bps, `${rate(server.link_used_bps)} of ${rate(server.link_bps)}`))));
}

/** The instances of a chain are many: they are listed when somebody opens them. */
function sharesOf(placement, chain) {
  const details = make("details", null, make("summary", null, `${chain.nfs.length} functions`));
  details.addEventListener("toggle", () => {
    if (!details.open || details.children.length > 1) return;
    details.append(make("ul", null, ...chain.nfs.map((nf) => make("li", null, make("strong", null, nf.name), ": ",
      nf.shares.map((share) => `${share.instance} ${percent(share.buckets / placement.buckets)}`).join(", ")))));
  });
  return details;
}

function showChains(placement) {
  find("#placed").replaceChildren(...placement.chains.map((chain) => make("tr", { "data-chain": chain.name }, named(chain.name), make("td", null, chain.servers.join(", ")),
    figure(duration(chain.p99_us)), figure(chain.slo_p99_us === null ? "no target" : duration(chain.slo_p99_us)), figure(percent(chain.busy_limit)),
    figure(count(chain.moved_buckets)), make("td", null, sharesOf(placement, chain)))));
  find("#refused-panel").hidden = placement.refused.length === 0;
  find("#refused").replaceChildren(...placement.refused.map((chain) => make("tr", { "data-chain": chain.name }, named(chain.name), figure(String(chain.weight)), figure(packetRate(chain.rate_pps)),
    make("td", { class: "reason" }, stateChip("failed", REASONS[chain.reason] ?? chain.reason), " ", chain.witness))));
}

async function show(id) {
  const placement = await placementGet(id);
  shownId = placement.id;
  find("#empty").hidden = true;
  find("#placement").hidden = placement.kind === "infeasible";
  showVerdict(placement);
  if (placement.kind === "infeasible") return;
  showTerms(placement);
  showServers(placement);
  showChains(placement);
}

async function showOlder() {
  const rows = await placements();
  find("#older").replaceChildren(...rows.map((row) => make("tr", { "data-placement": row.id },
    make("th", { scope: "row" }, make("button", { class: "button button-small", type: "button", "aria-current": row.id === shownId ? "true" : null, onclick: () => show(row.id).then(showOlder).catch(fail) }, `placement ${row.id}`)),
    make("td", null, moment(Date.parse(row.created_at) / 1000)), figure(count(row.admitted)), figure(count(row.refused)), figure(count(row.moved_buckets)), figure(span(row.took_s)))));
  return rows;
}

async function showNewest() {
  try {
    const [newest] = await placements();
    if (newest) await show(newest.id);
    else {
      find("#empty").hidden = false;
      setState(find("#verdict .state"), "unknown", "nothing placed");
      setText(find("#verdict .verdict-words"), "Chains have not been placed together yet.");
    }
    await showOlder();
  } catch (error) {
    fail(error);
  }
}

function wire(stream) {
  const line = new JobsLine(find("#job"), stream);
  addEventListener("chainbusy", () => { find("#place").disabled = line.isBusy; });
  find("#place-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const job = await line.run("Placement", () => place({ instance_cores: Number(find("#instance-cores").value), is_fresh: find("#is-fresh").checked }));
    if (job?.state === "succeeded") await showNewest();
  });
}

openLive((stream) => {
  if (find("#placement-page").dataset.canOperate === "true") wire(stream);
  stream.subscribe("chains", () => showNewest(), (event) => { if (event === "placement_ready") showNewest(); }, fail);
});
