// One plan with everything: graph, figures, proof, pairs, servers, and its difference to another plan.

import { find, make, setText, stateChip } from "../dom.js";
import { moment, rate } from "../format.js";
import { openLive } from "../live_status.js";
import { failureWords } from "../rest.js";
import { planGet, plansOf } from "./api.js";
import { graphIn } from "./graph.js";
import { showPairs } from "./pairs.js";
import { showDiff } from "./past_panel.js";
import { namesOf, showInfeasible, showPlan } from "./proposal.js";
import { predicted } from "./words.js";

const plan = JSON.parse(find("#plan-data").textContent);
const shown = plan.kind === "infeasible" ? plan.best : plan;
const panel = find("#proposal");

function fail(error) {
  find("#failure").replaceChildren(make("div", { class: "notice", "data-level": "error" }, stateChip("error", "not loaded"), make("span", null, failureWords(error))));
}

function showServers() {
  find("#candidates").replaceChildren(...(shown?.candidates ?? []).map((server) => make("tr", null, make("th", { scope: "row" }, server.name),
    make("td", null, shown.servers.includes(server.name) ? "✓ yes" : "no"), make("td", { class: "figure" }, String(server.cores)), make("td", { class: "figure" }, rate(server.link_bps)))));
}

async function listOthers() {
  const select = find("#other-plan");
  const others = (await plansOf(plan.chain)).filter((row) => row.kind === "plan" && row.id !== plan.id);
  select.append(...others.map((row) => make("option", { value: row.id }, `plan ${row.id}, of version ${row.chain_version}, p99 ${predicted(row.p99_us)}`)));
  select.addEventListener("change", async () => {
    if (!select.value) return;
    try {
      showDiff(find("#diff"), await planGet(select.value), plan);
    } catch (error) {
      fail(error);
    }
  });
}

const made = find("#plan-made");
made.removeAttribute("data-at-s");
setText(made, moment(Date.parse(plan.created_at) / 1000));
if (plan.kind === "infeasible") showInfeasible(panel, plan, {});
else showPlan(panel, plan);
find("#sequential").hidden = !shown;
if (shown) {
  graphIn(find("#sequential-graph"), { label: "Sequential chain" }).show(shown.sequential_root);
  const graph = find('[data-part="graph"]', panel).chainGraph;
  showPairs(find("#pairs"), plan.pairs, namesOf(shown), (pair) => graph.markPair(pair?.first, pair?.second));
}
showServers();
if (plan.kind === "plan") listOthers().catch(fail);
openLive((stream) => stream.subscribe(`chain:${plan.chain}`, (data) => {
  if (data.live_plan?.id === plan.id) find("#verdict .state").replaceWith(stateChip("up", "live"));
}, () => {}));
