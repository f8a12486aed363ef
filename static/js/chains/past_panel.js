// Plans and versions of a chain: look at one, compare two, take one back.

import { find, findAll, make, setText, stateChip } from "../dom.js";
import { moment } from "../format.js";
import { failureWords } from "../rest.js";
import { planGet, plansOf, restore, revisions } from "./api.js";
import { graphIn } from "./graph.js";
import { planDiff } from "./plan_diff.js";
import { bytes, change, duration, predicted } from "./words.js";

const at = (isoText) => make("time", { datetime: isoText }, moment(Date.parse(isoText) / 1000));
const FIGURES = { p50_us: ["predicted p50", predicted], p99_us: ["predicted p99", predicted], mean_us: ["predicted mean", predicted], wire_bytes_per_packet: ["bytes on the wire per packet", bytes], copied_bytes_per_packet: ["bytes copied per packet", bytes], cpu_us_per_packet: ["processor time per packet", duration], servers_crossed: ["servers crossed", String] };

function planRow(plan, { liveId, apply, chosen }) {
  const isPlan = plan.kind === "plan";
  return make("tr", { "data-plan": plan.id },
    make("td", null, isPlan ? make("input", { type: "checkbox", "data-compare": plan.id, "aria-label": `Compare plan ${plan.id}`, onchange: chosen }) : ""),
    make("th", { scope: "row" }, make("a", { href: `/chains/plans/${plan.id}/` }, `plan ${plan.id}`)),
    make("td", null, isPlan ? (plan.id === liveId ? stateChip("up", "live") : stateChip("info", "plan")) : stateChip("failed", "no plan")),
    make("td", { class: "figure" }, `v${plan.chain_version}`), make("td", { class: "figure" }, isPlan ? predicted(plan.p99_us) : "–"),
    make("td", { class: "figure" }, isPlan ? change(plan.sequential_p99_us, plan.p99_us) || "–" : "–"), make("td", null, plan.note || plan.witness || ""),
    make("td", null, at(plan.created_at), ` ${plan.created_by ? `by ${plan.created_by}` : ""}`),
    make("td", null, isPlan && apply && plan.id !== liveId ? make("button", { class: "button button-small", type: "button", "data-apply": plan.id, onclick: () => apply(plan.id, plan.chain_version) }, "Apply", make("span", { class: "visually-hidden" }, ` plan ${plan.id}`)) : ""));
}

/** Draw the difference of two plans: two graphs, the figures, and a table in words. */
export function showDiff(holder, before, after) {
  const diff = planDiff(before, after);
  const figures = Object.entries(diff.figures).map(([name, [one, other]]) => make("tr", null, make("th", { scope: "row" }, FIGURES[name][0]), make("td", { class: "figure" }, FIGURES[name][1](one)), make("td", { class: "figure" }, FIGURES[name][1](other)), make("td", { class: "figure" }, change(one, other) || "–")));
  const rows = diff.rows.map((row) => make("tr", { "data-diff": row.what }, make("th", { scope: "row" }, row.what), make("td", null, row.before), make("td", null, row.after), make("td")));
  const graphs = [before, after].map((plan) => make("section", null, make("h3", null, `Plan ${plan.id}`), make("div", { class: "graph" })));
  holder.replaceChildren(make("h3", null, `From plan ${before.id} to plan ${after.id}`), make("div", { class: "two-up" }, ...graphs),
    make("p", { class: "small soft" }, diff.rows.length ? "Double frames mark what differs." : "Both are the same graph on the same servers."),
    make("div", { class: "table-box" }, make("table", { class: "plan-diff" }, make("thead", null, make("tr", null, make("th", null, "what"), make("th", { class: "figure" }, `plan ${before.id}`), make("th", { class: "figure" }, `plan ${after.id}`), make("th", { class: "figure" }, "change"))), make("tbody", null, ...rows, ...figures))));
  graphIn(find(".graph", graphs[0])).show(before.root, { changed: diff.marks.before });
  graphIn(find(".graph", graphs[1])).show(after.root, { changed: diff.marks.after });
}

export class PastPanel {
  /** Args: name of the chain; actions {apply(id, version), restored(chain)} or null for those who only look. */
  constructor(name, actions) {
    Object.assign(this, { name, actions, key: "" });
    find("#compare").addEventListener("click", () => this.compare());
  }

  /** Ask again when something that these lists show has changed. */
  async refresh(key, liveId) {
    if (key === this.key) return;
    this.key = key;
    try {
      const [plans, versions] = await Promise.all([plansOf(this.name), revisions(this.name)]);
      if (key !== this.key) return;
      this.show(plans, versions, liveId);
    } catch (error) {
      this.key = "";
      find("#past-failure").replaceChildren(make("p", { class: "notice", "data-level": "error" }, stateChip("error", "not loaded"), make("span", null, failureWords(error))));
    }
  }

  show(plans, versions, liveId) {
    find("#past-failure").replaceChildren();
    const chosen = () => this.chosen();
    this.replacePlans(plans.map((plan) => planRow(plan, { liveId, apply: this.actions?.apply, chosen })));
    setText(find("#plans-empty"), "Never planned.");
    find("#plans-empty").hidden = plans.length > 0;
    find("#revisions").replaceChildren(...versions.map((row, index) => this.revisionRow(row, index === 0)));
    this.chosen();
  }

  /** A plan that arrives must not take away what is chosen, or the focus. */
  replacePlans(rows) {
    const body = find("#plans");
    const kept = this.comparedIds;
    const { compare, apply } = body.contains(document.activeElement) ? document.activeElement.dataset : {};
    body.replaceChildren(...rows);
    for (const id of kept) {
      const box = find(`[data-compare="${id}"]`, body);
      if (box) box.checked = true;
    }
    if (compare) find(`[data-compare="${compare}"]`, body)?.focus();
    if (apply) find(`[data-apply="${apply}"]`, body)?.focus();
  }

  revisionRow(row, isNewest) {
    const button = this.actions && !isNewest ? make("button", { class: "button button-small", type: "button", "data-restore": row.version, onclick: (click) => this.restore(row.version, click.target) }, "Restore", make("span", { class: "visually-hidden" }, ` version ${row.version}`)) : "";
    const nfs = (row.definition?.nfs ?? []).map((nf) => nf.name).join(" → ");
    return make("tr", null, make("th", { scope: "row" }, `version ${row.version}`), make("td", null, nfs), make("td", null, row.note || ""), make("td", null, at(row.created_at), row.created_by ? ` by ${row.created_by}` : ""), make("td", null, button));
  }

  async restore(version, button) {
    button.disabled = true;
    try {
      this.actions.restored(await restore(this.name, version));
    } catch (error) {
      button.disabled = false;
      find("#past-failure").replaceChildren(make("p", { class: "notice", "data-level": "error" }, stateChip("error", "not restored"), make("span", null, failureWords(error))));
    }
  }

  get comparedIds() {
    return findAll("[data-compare]:checked").map((box) => Number(box.dataset.compare)).sort((one, other) => one - other);
  }

  chosen() {
    const { length } = this.comparedIds;
    find("#compare").disabled = length !== 2;
    setText(find("#compare-words"), length === 2 ? "" : "Choose two plans to compare.");
  }

  async compare() {
    const [before, after] = await Promise.all(this.comparedIds.map(planGet)).catch((error) => {
      find("#past-failure").replaceChildren(make("p", { class: "notice", "data-level": "error" }, failureWords(error)));
      return [];
    });
    if (before && after) {
      showDiff(find("#diff"), before, after);
      find("#diff").scrollIntoView({ block: "nearest" });
    }
  }
}
