// The catalogue: what each type of network function does, in words; operators add types of their own.

import { find, findAll, make, setText, stateChip } from "../dom.js";
import { openLive } from "../live_status.js";
import { ProblemError, failureWords } from "../rest.js";
import { nfTypeChange, nfTypeCreate, nfTypeDelete, nfTypes } from "./api.js";
import { FIELDS, FLAGS, STATES, duration, fieldWords, flagWords } from "./words.js";

const canOperate = find("#catalogue").dataset.canOperate === "true";
let edited = null;

function fail(what, error, holder = find("#failure")) {
  const rows = (error.problem?.errors ?? []).map((each) => make("li", null, make("code", null, each.field), ` ${each.limit}`));
  holder.replaceChildren(make("div", { class: "notice", "data-level": "error" }, stateChip("error", what), rows.length ? make("ul", { class: "errorlist" }, ...rows) : make("span", null, failureWords(error))));
}

function headersOf(profile) {
  const words = [profile.adds_header && "adds a header", profile.removes_header && "removes a header"].filter(Boolean);
  return words.join(", ") || "–";
}

function dropsOf(profile) {
  if (!profile.drops) return "never";
  return profile.drop_reads.length ? `by ${fieldWords(profile.drop_reads)}` : "by rate or table";
}

function actions(type) {
  if (!canOperate) return "";
  const edit = make("button", { class: "button button-small", type: "button", "data-edit": type.slug, onclick: () => open(type) }, "Edit", make("span", { class: "visually-hidden" }, ` ${type.title}`));
  const drop = make("button", { class: "button button-small button-danger", type: "button", "data-delete": type.slug, onclick: (click) => remove(type, click.target) }, "Delete", make("span", { class: "visually-hidden" }, ` ${type.title}`));
  return make("div", { class: "editor-tools" }, edit, type.is_builtin ? "" : drop);
}

function rowOf(type) {
  const { profile, service } = type;
  return make("tr", { "data-type": type.slug },
    make("th", { scope: "row" }, make("div", null, type.title), make("code", { class: "small soft" }, type.slug), type.is_builtin ? "" : make("div", null, make("span", { class: "tag" }, "custom"))),
    make("td", null, fieldWords(profile.reads)), make("td", null, fieldWords(profile.writes)), make("td", null, headersOf(profile)), make("td", null, dropsOf(profile)),
    make("td", null, flagWords(profile.flags)), make("td", null, profile.shared_state ? `${STATES[profile.state]}; shares ${profile.shared_state}` : STATES[profile.state] ?? profile.state),
    make("td", { class: "figure" }, duration(service.mean_us), make("div", { class: "small soft" }, `scv ${service.scv}${service.is_waiting ? ", waits" : ""}`)),
    make("td", null, type.can_run ? stateChip("ok", "yes") : stateChip("unknown", "plan only")), make("td", { class: "small" }, type.provenance || "–"), make("td", null, actions(type)));
}

async function load() {
  try {
    const types = await nfTypes();
    find("#types").replaceChildren(...types.map(rowOf));
    setText(find("#types-empty"), "The catalogue is empty.");
    find("#types-empty").hidden = types.length > 0;
  } catch (error) {
    fail("Not loaded", error);
  }
}

async function remove(type, button) {
  button.disabled = true;
  try {
    await nfTypeDelete(type.slug, type.version);
    find("#failure").replaceChildren();
    await load();
  } catch (error) {
    button.disabled = false;
    fail(`${type.title} not deleted`, error);
  }
}

// The form

const check = (name, value, words, isOn) => make("label", { class: "field-check" }, make("input", { type: "checkbox", "data-name": name, value, checked: isOn }), words);

function fillForm(type) {
  const { profile, service } = type;
  const text = { slug: type.slug, name: type.title, provenance: type.provenance, description: type.description, mean: service.mean_us, scv: service.scv, shared: profile.shared_state };
  for (const [name, value] of Object.entries(text)) find(`#type-${name}`).value = value;
  find("#type-state").replaceChildren(...Object.entries(STATES).map(([value, words]) => make("option", { value, selected: value === profile.state }, words)));
  find("#type-switches").replaceChildren(check("drops", "", "may drop packets", profile.drops), check("adds_header", "", "adds a header", profile.adds_header), check("removes_header", "", "removes a header", profile.removes_header), check("is_waiting", "", "waits instead of using a core", service.is_waiting));
  find("#type-flags").replaceChildren(...Object.entries(FLAGS).map(([value, words]) => check("flags", value, words, profile.flags.includes(value))));
  find("#type-fields").replaceChildren(...Object.entries(FIELDS).map(([field, words]) => make("tr", null, make("th", { scope: "row" }, words),
    ...["reads", "writes", "drop_reads"].map((name) => make("td", null, make("input", { type: "checkbox", "data-name": name, value: field, checked: profile[name].includes(field), "aria-label": `${words}: ${name.replace("drop_reads", "drops by it")}` }))))));
}

const EMPTY = { slug: "", title: "", description: "", provenance: "", service: { mean_us: 20, scv: 1, is_waiting: false }, profile: { reads: [], writes: [], adds_header: false, removes_header: false, drops: false, drop_reads: [], flags: [], state: "none", shared_state: "" } };

function open(type) {
  edited = type;
  fillForm(type ?? EMPTY);
  setText(find("#type-title"), type ? `Edit ${type.title}` : "New type");
  find("[data-only-new]").hidden = Boolean(type);
  find("#type-failure").replaceChildren();
  find("#type-dialog").showModal();
}

function readForm() {
  const value = (name) => find(`#type-${name}`).value.trim();
  const checked = (name) => findAll(`#type-dialog [data-name="${name}"]:checked`).map((box) => box.value);
  const isOn = (name) => checked(name).length > 0;
  const profile = { reads: checked("reads"), writes: checked("writes"), drop_reads: checked("drop_reads"), flags: checked("flags"), drops: isOn("drops"), adds_header: isOn("adds_header"), removes_header: isOn("removes_header"), state: value("state"), shared_state: value("shared") };
  const body = { title: value("name"), description: value("description"), provenance: value("provenance"), profile, service: { mean_us: Number(value("mean")), scv: Number(value("scv")), is_waiting: isOn("is_waiting") } };
  return edited ? body : { slug: value("slug"), ...body };
}

async function submit() {
  const body = readForm();
  try {
    if (edited) await nfTypeChange(edited.slug, edited.version, body);
    else await nfTypeCreate(body);
    find("#type-dialog").close();
    await load();
  } catch (error) {
    if (!(error instanceof ProblemError) || error.status !== 412 || !error.problem.current) {
      fail("Type not saved", error, find("#type-failure"));
      return;
    }
    const { current } = error.problem;
    const take = make("button", { class: "button button-small", type: "button", onclick: () => open(current) }, "Show theirs");
    const keep = make("button", { class: "button button-small", type: "button", onclick: () => { edited = current; submit(); } }, "Save mine over it");
    find("#type-failure").replaceChildren(make("div", { class: "notice", "data-level": "warning" }, stateChip("warning", "changed by somebody else"), make("span", null, `${current.updated_by || "Somebody"} saved version ${current.version}. What you typed is still here.`), take, keep));
  }
}

if (canOperate) {
  find("#type-new").addEventListener("click", () => open(null));
  find("#type-close").addEventListener("click", () => find("#type-dialog").close());
  find("#type-dialog form").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
}
load();
openLive((stream) => stream.subscribe("chains", () => {}, () => {}));
