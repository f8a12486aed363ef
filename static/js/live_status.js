// The live indicator in the header, and the page's word on whether its data are fresh.

import { find, setData, setState, setText } from "./dom.js";
import { clock, span } from "./format.js";
import { LiveStream, liveUrl } from "./live.js";

/** Open the page's one live stream; its state shows in the header and as data-fresh on <body>. */
export function openLive(subscribeAll) {
  let status = { state: "connecting", sinceMs: Date.now(), reason: "" };
  const show = () => {
    const holder = find("#live-status");
    if (!holder) return;
    const words = status.state === "stale" ? `stale since ${clock(status.sinceMs / 1000)}` : status.state;
    setState(find(".state", holder), status.state, words);
    const age = span((Date.now() - status.sinceMs) / 1000);
    setText(find(".detail", holder), status.state === "stale" ? `(${age}) ${status.reason}` : "");
    setData(document.body, "fresh", status.state === "live" ? "live" : status.state === "stale" ? "stale" : "loading");
  };
  const stream = new LiveStream(liveUrl(), (changed) => {
    status = changed;
    show();
    dispatchEvent(new CustomEvent("livechange", { detail: changed }));
  });
  subscribeAll(stream);
  stream.open();
  show();
  setInterval(show, 1000);
  return stream;
}
