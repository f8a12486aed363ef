// Asks the portal what it thinks of a draft, shortly after the last edit; an answer to an older draft is never shown.

import { ProblemError, failureWords } from "../rest.js";
import { analyse, whatIf } from "./api.js";
import { bodyOf } from "./model.js";

const QUIET_MS = 250;
const UNNAMED = "unnamed";

export class Advisor {
  /** Args: show({state, pairs, answer, errors, words}), called with every change; state: waiting, asking, fresh, refused, away. */
  constructor(show) {
    Object.assign(this, { show, timer: null, control: null, last: null });
  }

  /** Say why the draft cannot be asked about. */
  refuse(words) {
    this.stop();
    this.show({ state: "refused", words, errors: [] });
  }

  stop() {
    clearTimeout(this.timer);
    this.control?.abort();
    this.control = null;
  }

  /** Ask about a draft once edits pause. */
  ask(draft) {
    this.stop();
    this.show({ state: "asking" });
    this.timer = setTimeout(() => this.askNow(draft), QUIET_MS);
  }

  async askNow(draft) {
    const control = new AbortController();
    this.control = control;
    const body = { ...bodyOf(draft), name: draft.name || UNNAMED };
    try {
      const analysed = await analyse(body, control.signal);
      if (this.control !== control) return;
      this.show({ state: "asking", pairs: analysed.pairs });
      const answer = await whatIf(body, control.signal);
      if (this.control === control) this.show({ state: "fresh", pairs: analysed.pairs, answer });
    } catch (error) {
      if (control.signal.aborted || this.control !== control) return;
      const isRefused = error instanceof ProblemError && error.status < 500;
      this.show({ state: isRefused ? "refused" : "away", words: failureWords(error), errors: error.problem?.errors ?? [] });
      if (!isRefused) this.timer = setTimeout(() => this.askNow(draft), 4000);
    }
  }
}
