// Upload a capture: sending, then reading, each with its progress; at the end, the page of the capture.

import { find, make, setState, setText, stateChip } from "../dom.js";
import { percent } from "../format.js";
import { openLive } from "../live_status.js";
import { failureWords } from "../rest.js";
import { jobCancel, jobGet, upload } from "./api.js";
import { size } from "./words.js";

const FINISHED = new Set(["succeeded", "failed", "cancelled"]);
const ASK_AGAIN_MS = 3000; // the stream tells sooner; asking covers a stream that is away

const form = find("#upload");
let stream = null;
let job = null;
let giveUp = null;

const step = (name) => find(`[data-step="${name}"]`);

function show(name, state, word, ratio, words) {
  const holder = step(name);
  setState(find(".state", holder), state, word);
  if (ratio !== null) find("progress", holder).value = ratio;
  setText(find(".step-words", holder), words);
}

function fail(words) {
  find("#failure").replaceChildren(make("div", { class: "notice", "data-level": "error" }, stateChip("error", "not done"), make("span", null, words)));
  find("#cancel").hidden = true;
  form.hidden = false;
  find("button[type=submit]", form).disabled = false;
}

function formData() {
  const data = new FormData();
  for (const [name, value] of new FormData(form)) if (name !== "file" && value !== "" && value !== "on") data.append(name, value);
  for (const name of ["without_tokens", "width32"]) if (form.elements[name].checked) data.append(name, "true");
  // The file comes last: whoever reads the form knows the rest when it arrives.
  data.append("file", form.elements.file.files[0]);
  return data;
}

function followReading(capture) {
  const take = (fresh) => {
    if (!fresh?.id || job === null) return;
    const words = fresh.state === "failed" ? fresh.error : fresh.message;
    const state = fresh.state === "succeeded" ? "ok" : fresh.state;
    show("read", state, fresh.state === "running" ? "reading" : fresh.state, fresh.progress_ratio, words);
    if (!FINISHED.has(fresh.state)) return;
    clearInterval(timer);
    job = null;
    if (fresh.state === "succeeded") location.assign(`/mptcp/captures/${capture.id}/`);
    else fail(fresh.state === "cancelled" ? "The reading was cancelled." : `${capture.file_name}: ${words}`);
  };
  const timer = setInterval(() => jobGet(capture.job).then(take, () => {}), ASK_AGAIN_MS);
  stream.subscribe(`job:${capture.job}`, (data) => take(data.job), (event, data) => take(data));
}

async function start(event) {
  event.preventDefault();
  const [file] = form.elements.file.files;
  find("#failure").replaceChildren();
  const limit = Number(form.dataset.maxBytes);
  if (!file) return;
  if (file.size > limit) {
    fail(`${file.name} has ${size(file.size)}; at most ${size(limit)} are taken. Cut it by time, or keep 128 bytes of each packet (editcap -s 128).`);
    return;
  }
  find("button[type=submit]", form).disabled = true;
  form.hidden = true;
  Object.assign(find("#cancel"), { hidden: false, disabled: false });
  find("#progress").hidden = false;
  show("send", "running", "sending", 0, `0 of ${size(file.size)}`);
  show("read", "queued", "reading", 0, "");
  setText(find("#announce"), `Sending ${file.name}`);
  giveUp = new AbortController();
  try {
    const capture = await upload(formData(), (ratio, bytes) => show("send", "running", "sending", ratio, `${size(Math.min(bytes, file.size))} of ${size(file.size)}, ${percent(ratio)}`), giveUp.signal);
    show("send", "ok", "sent", 1, size(file.size));
    setText(find("#announce"), `${file.name} was sent and is being read`);
    job = capture.job;
    followReading(capture);
  } catch (error) {
    show("send", "failed", "not sent", null, "");
    fail(error.name === "AbortError" ? "The upload was cancelled; nothing of it was kept." : error instanceof TypeError ? error.message : failureWords(error));
  } finally {
    giveUp = null;
  }
}

form.addEventListener("submit", start);
find("#cancel").addEventListener("click", () => {
  find("#cancel").disabled = true;
  if (giveUp) giveUp.abort();
  else if (job) jobCancel(job).catch(() => {});
});
stream = openLive((made) => {
  stream = made;
  made.subscribe("mptcp", () => {}, () => {});
});
