// The pages of jobs: list and detail, fresh by the live stream.

import { find, make, setData, setState, setText, stateChip } from "./dom.js";
import { iso, moment, span } from "./format.js";
import { openLive } from "./live_status.js";
import { call, failureWords } from "./rest.js";

const LIST_LIMIT = 50;

function fail(error) {
  find("#job-failure").replaceChildren(
    make("div", { class: "notice", "data-level": "error" }, stateChip("error", "not done"), make("span", null, failureWords(error))),
  );
}

async function cancel(id, button) {
  button.disabled = true;
  find("#job-failure").replaceChildren();
  try {
    await call("POST", `/api/v1/jobs/${id}/cancel/`);
  } catch (error) {
    button.disabled = false;
    fail(error);
  }
}

function tookWords(job) {
  if (!job.started_at_s) return "–";
  return span((job.finished_at_s ?? Date.now() / 1000) - job.started_at_s);
}

const timeOf = (atSeconds) => (atSeconds ? make("time", { datetime: iso(atSeconds) }, moment(atSeconds)) : "–");

function stateWords(job) {
  return job.is_cancel_requested && job.state === "running" ? "cancelling" : job.state;
}

function row(job) {
  return make(
    "tr",
    { "data-job": job.id },
    make("th", { scope: "row" }, make("a", { href: `/jobs/${job.id}/` }, job.title)),
    make("td", null, stateChip(job.state)),
    make("td", { class: "job-progress" }, make("progress", { max: 1, value: 0, "aria-label": "Progress" }), make("div", { class: "small soft" })),
    make("td", null, job.created_by || "the portal"),
    make("td", null, timeOf(job.created_at_s)),
    make("td", { class: "figure" }),
    make("td"),
  );
}

function updateRow(element, job, canOperate) {
  setState(find(".state", element), job.state, stateWords(job));
  find("progress", element).value = job.progress_ratio;
  setText(find(".job-progress div", element), job.error || job.message);
  setText(element.cells[5], tookWords(job));
  const button = find("button", element);
  if (canOperate && job.can_cancel && !button) {
    const made = make("button", { class: "button button-small", type: "button" }, "Cancel", make("span", { class: "visually-hidden" }, ` ${job.title}`));
    made.addEventListener("click", () => cancel(job.id, made));
    element.cells[6].append(made);
  } else if (button && !job.can_cancel) button.remove();
}

function openList(body) {
  const jobs = new Map(JSON.parse(find("#jobs-data").textContent).map((job) => [job.id, job]));
  const show = () => {
    const shown = [...jobs.values()].sort((one, other) => other.created_at_s - one.created_at_s).slice(0, LIST_LIMIT);
    shown.forEach((job, index) => {
      let element = find(`[data-job="${job.id}"]`, body);
      if (!element) element = row(job);
      if (body.rows[index] !== element) body.insertBefore(element, body.rows[index] ?? null);
      updateRow(element, job, body.dataset.canOperate === "true");
    });
    while (body.rows.length > shown.length) body.rows[shown.length].remove();
    find("#jobs-empty").hidden = jobs.size > 0;
  };
  const takeSnapshot = (data) => {
    jobs.clear();
    for (const job of data.jobs) jobs.set(job.id, job);
    show();
  };
  const takeEvent = (event, job) => {
    if (job?.id) jobs.set(job.id, job);
    show();
  };
  show();
  setInterval(show, 1000);
  openLive((stream) => stream.subscribe("jobs", takeSnapshot, takeEvent));
}

function showJob(panel, job) {
  setState(find("#job-state .state"), job.state, stateWords(job));
  find("#job-progress").value = job.progress_ratio;
  setText(find("#job-message"), job.message);
  for (const name of ["created", "started", "finished"]) find(`#job-${name}`).replaceChildren(timeOf(job[`${name}_at_s`]));
  setText(find("#job-took"), tookWords(job));
  setText(find("#job-params"), JSON.stringify(job.params, null, 2));
  setText(find("#job-result"), job.error || (job.result === null ? "none yet" : JSON.stringify(job.result, null, 2)));
  setData(panel, "state", job.state);
  const actions = find("#job-actions");
  const canCancel = panel.dataset.canOperate === "true" && job.can_cancel;
  if (canCancel && !actions.firstChild) {
    const button = make("button", { class: "button button-danger", type: "button" }, "Cancel job");
    button.addEventListener("click", () => cancel(job.id, button));
    actions.append(button);
  } else if (!canCancel) actions.replaceChildren();
}

function openDetail(panel) {
  let job = JSON.parse(find("#job-data").textContent);
  const take = (fresh) => {
    job = fresh;
    showJob(panel, job);
  };
  take(job);
  setInterval(() => !job.finished_at_s && showJob(panel, job), 1000);
  openLive((stream) => stream.subscribe(`job:${job.id}`, (data) => take(data.job), (event, data) => data.id && take(data)));
}

const body = find("#jobs");
const panel = find("#job");
if (body) openList(body);
if (panel) openDetail(panel);
