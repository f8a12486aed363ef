// Long work of a chain in one line: what runs, how far it is, how it ended. It follows the job by the live stream.

import { find, make, setText, stateChip } from "../dom.js";
import { failureWords } from "../rest.js";
import { jobCancel, jobGet } from "./api.js";

const FINISHED = new Set(["succeeded", "failed", "cancelled"]);
const ASK_AGAIN_MS = 3000; // the stream tells sooner; asking covers a stream that is away

/** Follow a job to its end; onChange gets every state on the way. Resolves to the finished job. */
export function followJob(stream, job, onChange) {
  return new Promise((resolve) => {
    let isDone = false;
    const take = (fresh) => {
      if (isDone || !fresh?.id) return;
      onChange(fresh);
      if (!FINISHED.has(fresh.state)) return;
      isDone = true;
      clearInterval(timer);
      resolve(fresh);
    };
    const timer = setInterval(() => jobGet(job.id).then(take, () => {}), ASK_AGAIN_MS);
    take(job);
    if (!isDone) stream.subscribe(`job:${job.id}`, (data) => take(data.job), (event, data) => take(data));
  });
}

/** Shows one job at a time in its holder. */
export class JobsLine {
  constructor(holder, stream) {
    Object.assign(this, { holder, stream, isBusy: false });
  }

  /** Start work with `start() -> job` and show it to its end. Resolves to the job, or null when it could not be started. */
  async run(words, start) {
    if (this.isBusy) return null;
    this.isBusy = true;
    this.tell("connecting", words, "asking …");
    dispatchEvent(new CustomEvent("chainbusy"));
    try {
      const job = await followJob(this.stream, await start(), (fresh) => this.show(words, fresh));
      return job;
    } catch (error) {
      this.tell("error", `${words}: not done`, failureWords(error));
      return null;
    } finally {
      this.isBusy = false;
      dispatchEvent(new CustomEvent("chainbusy"));
    }
  }

  tell(state, title, words) {
    const level = { error: "error", failed: "error", succeeded: "ok", cancelled: "warning" }[state] ?? "info";
    this.holder.replaceChildren(make("div", { class: "notice job-line", "data-level": level, "data-job-state": state }, stateChip(state, title), make("span", { class: "job-words" }, words)));
  }

  show(words, job) {
    const isRunning = !FINISHED.has(job.state);
    if (!isRunning || find(".job-line", this.holder)?.dataset.job !== job.id) this.tell(job.state, `${words}: ${job.state}`, "");
    const line = find(".job-line", this.holder);
    if (isRunning && line.dataset.job !== job.id) {
      line.dataset.job = job.id;
      line.append(make("progress", { max: 1, value: 0, "aria-label": `Progress: ${words}` }),
        make("button", { class: "button button-small", type: "button", onclick: (click) => { click.target.disabled = true; jobCancel(job.id).catch(() => {}); } }, "Cancel"),
        make("a", { href: `/jobs/${job.id}/` }, "Job"));
    }
    const chip = find(".state", line);
    setText(chip, `${words}: ${job.is_cancel_requested && isRunning ? "cancelling" : job.state}`);
    chip.dataset.state = job.state;
    setText(find(".job-words", line), job.state === "failed" ? job.error : job.message);
    const progress = find("progress", line);
    if (progress) progress.value = job.progress_ratio;
  }
}
