// A chain for those who only look: the same cards without controls, and the newest plan instead of a what-if.

import { find, make } from "../dom.js";
import { draftOf } from "./model.js";
import { showPairs } from "./pairs.js";
import { clearPlan, namesOf, showInfeasible, showPlan } from "./proposal.js";
import { Strip } from "./strip.js";
import { bytes, packetRate, targetOf } from "./words.js";

let strip = null;

const any = (value) => (value === "" || value === undefined || (Array.isArray(value) && !value.length) ? "any" : String(value));

/** Show a chain and its newest plan without a way to change them. */
export function readOnlyChain(chain, plan) {
  strip ??= new Strip(find("#strip"), null);
  const draft = draftOf(chain);
  strip.show({ draft, types: new Map(), selected: -1, badFields: [] });
  const facts = { Rate: packetRate(draft.rate_pps), "p99 target": targetOf(draft.slo_p99_ms), "Mean packet size": bytes(draft.packet_bytes), Source: any(draft.match.src), Destination: any(draft.match.dst), Protocol: any(draft.match.proto), "Destination ports": any(draft.match.dst_port.join(", ")), Version: `${chain.version}${chain.updated_by ? `, by ${chain.updated_by}` : ""}` };
  find("#chain-facts").replaceChildren(...Object.entries(facts).flatMap(([words, value]) => [make("dt", null, words), make("dd", null, value)]));
  const panel = find("#proposal");
  if (!plan) {
    clearPlan(panel, "This chain was never planned.");
    return;
  }
  if (plan.kind === "infeasible") showInfeasible(panel, plan, { draft });
  else showPlan(panel, plan, { draft });
  const shown = plan.kind === "infeasible" ? plan.best : plan;
  const graph = find('[data-part="graph"]', panel).chainGraph;
  if (shown) showPairs(find("#pairs"), plan.pairs ?? shown.pairs, namesOf(shown), (pair) => graph?.markPair(pair?.first, pair?.second));
}
