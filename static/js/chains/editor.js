// The drawing board: one draft, every edit undoable, saved with the version it was made from.

import { find, findAll, make, setData, setText, stateChip } from "../dom.js";
import { failureWords } from "../rest.js";
import { Advisor } from "./advisor.js";
import { EditHistory, NFS_MAX, addNf, draftOf, isSame, moveNf, problemsOf, removeNf } from "./model.js";
import { showPairs } from "./pairs.js";
import { clearPlan, showInfeasible, showPlan } from "./proposal.js";
import { keptDrafts, mergeWith, saveDraft } from "./saving.js";
import { Settings } from "./settings.js";
import { Strip, filterPalette, showHistoryButtons, showPalette } from "./strip.js";

const say = (words) => setText(find("#said"), words);

export class Editor {
  /** Args: name, "" for a new chain; onSaved(chain). */
  constructor({ name, onSaved }) {
    Object.assign(this, { name, onSaved, version: null, selected: -1, types: new Map(), servers: [], serverErrors: [], isSaving: false, isOffering: false });
    this.history = new EditHistory(draftOf());
    this.advisor = new Advisor((news) => this.takeAdvice(news));
    this.strip = new Strip(find("#strip"), { select: (index) => this.select(index), move: (from, to) => this.move(from, to), remove: (index) => this.remove(index) });
    this.settings = new Settings(find("#chain-form"), find("#nf-form"), (...edit) => this.formEdit(...edit), name === "");
    this.wire();
  }

  wire() {
    find("#undo").addEventListener("click", () => this.undo());
    find("#redo").addEventListener("click", () => this.redo());
    find("#save").addEventListener("click", () => this.save());
    find("#palette-search").addEventListener("input", (event) => filterPalette(find("#palette"), event.target.value));
    find("#palette-search").addEventListener("keydown", (event) => {
      const first = findAll(".palette-item:not([hidden])", find("#palette"))[0];
      if (event.key === "Enter" && first) this.add(first.dataset.type);
    });
    document.addEventListener("keydown", (event) => this.keys(event));
    addEventListener("beforeunload", (event) => this.history.isDirty && event.preventDefault());
  }

  get draft() {
    return this.history.present;
  }

  keys(event) {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || find("dialog[open]")) return;
    const key = event.key.toLowerCase();
    const run = key === "z" ? (event.shiftKey ? () => this.redo() : () => this.undo()) : key === "y" ? () => this.redo() : key === "s" ? () => this.save() : null;
    if (!run) return;
    event.preventDefault();
    run();
  }

  takeTypes(types) {
    this.types = new Map(types.map((type) => [type.slug, type]));
    showPalette(find("#palette"), this.types, find("#strip"), (slug, at) => this.add(slug, at));
    this.show();
  }

  /** Take the portal's version of the chain: at the start, after a save, or when somebody else saved and nothing here is unsaved. */
  takeChain(chain) {
    this.version = chain.version;
    this.history.reset(draftOf(chain));
    if (this.selected >= this.draft.nfs.length) this.selected = -1;
    this.offerKept();
    this.changed();
  }

  /** Somebody saved: show it at once, or say so when that would lose what is drawn here. */
  takeNews(chain) {
    if (this.version === null || chain.version <= this.version || this.isSaving) return;
    if (!this.history.isDirty) {
      this.takeChain(chain);
      say(`${chain.updated_by || "The portal"} saved version ${chain.version}; it is shown now.`);
      return;
    }
    const merge = make("button", { class: "button button-small", type: "button", onclick: () => this.mergeNow(chain) }, "Merge now");
    this.tell("warning", "changed by somebody else", `${chain.updated_by || "Somebody"} saved version ${chain.version} meanwhile. Your changes are kept; saving asks how to merge.`, merge);
  }

  offerKept() {
    const kept = keptDrafts.get(this.name);
    if (!kept || isSame(kept.draft, this.draft)) return;
    this.isOffering = true;
    const take = () => {
      this.isOffering = false;
      if (kept.version !== null && kept.version !== this.version) this.history.markSaved(kept.base);
      this.version = kept.version ?? this.version;
      this.history.push(kept.draft, "unsaved changes taken back");
      this.clearNotice();
      this.changed();
    };
    const drop = () => {
      this.isOffering = false;
      keptDrafts.set(this.name, null);
      this.clearNotice();
    };
    this.tell("info", "unsaved changes", "This browser kept changes that were not saved.", make("button", { class: "button button-small", type: "button", onclick: take }, "Take them back"), make("button", { class: "button button-small", type: "button", onclick: drop }, "Throw away"));
  }

  edit(draft, words, foldKey = null) {
    if (!this.history.push(draft, words, foldKey)) return false;
    this.changed();
    return true;
  }

  formEdit(change, words = "", isError = false, foldKey = null) {
    if (isError) this.showProblems();
    else if (change === null) this.history.breakFold();
    else this.edit(change(this.draft), words, foldKey);
  }

  add(type, at = this.draft.nfs.length) {
    if (this.draft.nfs.length >= NFS_MAX) {
      say(`A chain holds at most ${NFS_MAX} network functions.`);
      return;
    }
    const draft = addNf(this.draft, type, at);
    const index = Math.min(at, draft.nfs.length - 1);
    const { name } = draft.nfs[index];
    if (this.selected >= index) this.selected += 1;
    this.edit(draft, `${name} added`);
    say(`${name} added as number ${index + 1}.`);
  }

  move(from, to) {
    const draft = moveNf(this.draft, from, to);
    const name = this.draft.nfs[from]?.name;
    const chosen = this.draft.nfs[this.selected]?.name;
    if (draft === this.draft) return;
    this.selected = draft.nfs.findIndex((nf) => nf.name === chosen);
    this.edit(draft, `${name} moved`);
    this.strip.focus(name);
    say(`${name} is now number ${draft.nfs.findIndex((nf) => nf.name === name) + 1}.`);
  }

  remove(index) {
    const name = this.draft.nfs[index]?.name;
    const chosen = this.draft.nfs[this.selected]?.name;
    const draft = removeNf(this.draft, index);
    this.selected = draft.nfs.findIndex((nf) => nf.name === chosen);
    this.edit(draft, `${name} removed`);
    const next = draft.nfs[Math.min(index, draft.nfs.length - 1)];
    if (next) this.strip.focus(next.name);
    else find("#palette-search").focus();
    say(`${name} removed. Undo brings it back.`);
  }

  select(index) {
    this.selected = this.selected === index ? -1 : index;
    this.show();
    if (this.selected >= 0) this.settings.focus(`nfs[${index}].name`);
  }

  undo() {
    const words = this.history.undoWords;
    if (!this.history.undo()) return;
    this.afterTravel(`Undone: ${words}.`);
  }

  redo() {
    const words = this.history.redoWords;
    if (!this.history.redo()) return;
    this.afterTravel(`Done again: ${words}.`);
  }

  afterTravel(words) {
    if (this.selected >= this.draft.nfs.length) this.selected = -1;
    this.changed();
    say(words);
  }

  /** After every change of the draft: keep it, show it, ask about it. */
  changed() {
    this.serverErrors = [];
    if (this.history.isDirty) keptDrafts.set(this.name, { draft: this.draft, base: this.history.saved, version: this.version });
    else if (!this.isOffering) keptDrafts.set(this.name, null);
    this.show();
    const wrong = this.problems().filter((problem) => problem.field !== "name");
    if (wrong.length) this.advisor.refuse(this.draft.nfs.length ? "" : "Draw a chain: its pairs, its hybrid form and its latency show here at once.");
    else this.advisor.ask(this.draft);
  }

  problems() {
    const typed = [...this.settings.errors].map(([field, words]) => ({ field, words }));
    return [...problemsOf(this.draft), ...typed, ...this.serverErrors];
  }

  show() {
    const wordsOf = (field) => (field === "name" && !this.draft.name ? "" : this.problems().find((problem) => problem.field === field)?.words ?? "");
    const badFields = this.problems().map((problem) => problem.field);
    this.strip.show({ draft: this.draft, types: this.types, selected: this.selected, badFields });
    find("#nf-settings").hidden = this.selected < 0;
    this.settings.show({ draft: this.draft, types: this.types, servers: this.servers, selected: this.selected, wordsOf });
    showHistoryButtons(find("#undo"), find("#redo"), this.history);
    this.showProblems();
  }

  showProblems() {
    const problems = this.problems();
    const { isDirty } = this.history;
    const shown = isDirty || this.version !== null ? problems : [];
    find("#problems").replaceChildren(...shown.slice(0, 8).map((problem) => make("li", { "data-problem": problem.field }, make("code", null, problem.field || "chain"), ` ${problem.words}`)));
    find("#save").disabled = this.isSaving || !isDirty || problems.length > 0;
    const words = this.isSaving ? "saving …" : isDirty ? "unsaved changes" : this.version === null ? "nothing drawn yet" : `saved, version ${this.version}`;
    setText(find("#save-state"), words);
    setData(find("#editor"), "dirty", String(isDirty));
    dispatchEvent(new CustomEvent("chaindraft"));
  }

  takeAdvice(news) {
    const panel = find("#proposal");
    const isNew = news.state === "fresh" || news.state === "refused";
    setData(panel, "advice", news.state);
    const chips = { asking: ["running", "computing"], fresh: ["ok", "up to date"], refused: this.draft.nfs.length ? ["warning", "not complete"] : ["info", "waiting"], away: ["stale", "not computed"] };
    const [state, word] = chips[news.state];
    find("#advice-state").replaceChildren(stateChip(state, word), news.words ? make("span", { class: "small" }, ` ${news.words}`) : "");
    if (news.errors) {
      this.serverErrors = news.errors.map((error) => ({ field: error.field, words: error.limit }));
      this.show();
    }
    const names = this.draft.nfs.map((nf) => nf.name);
    if (news.pairs) showPairs(find("#pairs"), news.pairs, names, (pair) => find('[data-part="graph"]', panel).chainGraph?.markPair(pair?.first, pair?.second));
    if (isNew && !this.draft.nfs.length) {
      find("#pairs").replaceChildren(make("p", { class: "empty" }, "No pair yet."));
      find("#pairs").pairsKey = "";
      clearPlan(panel, "The hybrid chain is drawn here.");
    }
    if (news.answer) this.takeAnswer(panel, news.answer);
  }

  takeAnswer(panel, answer) {
    const plan = answer.kind === "infeasible" ? answer.best : answer;
    setData(panel, "answer", answer.kind);
    const servers = (plan?.candidates ?? []).map((server) => server.name);
    if (servers.length && !isSame(servers, this.servers)) {
      this.servers = servers;
      this.show();
    }
    if (answer.kind === "infeasible") showInfeasible(panel, answer, { draft: this.draft });
    else showPlan(panel, answer, { draft: this.draft });
  }

  tell(level, title, words, ...buttons) {
    const state = { error: "error", warning: "warning", info: "info", ok: "ok" }[level];
    find("#editor-notice").replaceChildren(make("div", { class: "notice", "data-level": level }, stateChip(state, title), make("span", null, words), ...buttons));
  }

  clearNotice() {
    find("#editor-notice").replaceChildren();
  }

  /** Save; resolves to the saved chain, or null when it was not saved. Nothing drawn is ever lost. */
  async save() {
    if (this.isSaving || !this.history.isDirty || this.problems().length) return null;
    this.isSaving = true;
    this.showProblems();
    try {
      return await this.saveUntilMerged();
    } catch (error) {
      this.serverErrors = (error.problem?.errors ?? []).map((each) => ({ field: each.field, words: each.limit }));
      this.tell("error", "not saved", `${failureWords(error)}. Your changes are still here.`);
      return null;
    } finally {
      this.isSaving = false;
      this.show();
    }
  }

  async saveUntilMerged() {
    for (;;) {
      const sent = this.draft;
      const { saved, current, merged } = await saveDraft({ draft: sent, base: this.history.saved, version: this.version, dialog: find("#merge") });
      if (saved) return this.takeSaved(saved, sent);
      if (!merged) {
        this.tell("warning", "not saved", "Nothing was merged. Your changes are still here.");
        return null;
      }
      this.takeMerged(current, merged);
    }
  }

  takeMerged(current, merged) {
    this.version = current.version;
    this.history.markSaved(draftOf(current));
    this.history.push(merged, `merged with version ${current.version}`);
    this.changed();
  }

  takeSaved(saved, sent) {
    this.version = saved.version;
    this.history.markSaved(isSame(this.draft, sent) ? this.draft : sent);
    keptDrafts.set(this.name, null);
    this.clearNotice();
    say(`Saved as version ${saved.version}.`);
    this.onSaved(saved);
    return saved;
  }

  /** The merge view before saving, when the news came first. */
  async mergeNow(chain) {
    const merged = await mergeWith({ draft: this.draft, base: this.history.saved, current: chain, dialog: find("#merge") });
    if (!merged) return;
    this.takeMerged(chain, merged);
    this.clearNotice();
  }
}
