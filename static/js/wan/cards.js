// One card per link: state, goodput against capacity, RTT, loss, jitter, what rides on it now, fault buttons.

import { find, make, setData, setState, setText, stateChip } from "../dom.js";
import { clock, milliseconds, percent, rate, span } from "../format.js";

const SUBFLOWS_SHOWN = 6;
const DIRECTION_WORDS = { both: "both ways", rx: "receiving side silent", tx: "sending side silent" };

function measure(name, label) {
  return make("div", null, make("dt", null, label), make("dd", { class: "number", "data-measure": name }, "–"));
}

function build(link, index, actions) {
  const card = make("article", {
    class: "link-card live-data",
    "data-link": link.name,
    "data-series": index % 5,
    "data-shortcut": index < 9 ? index + 1 : null,
    tabindex: "-1",
    "aria-labelledby": `link-${link.name}`,
  });
  card.append(
    make("header", { class: "link-head" },
      make("div", null, make("h3", { id: `link-${link.name}` }, link.name), make("div", { class: "provider" })),
      stateChip("unknown")),
    make("p", { class: "since small soft" }),
    make("div", { class: "link-goodput" },
      make("div", null, make("span", { class: "big number" }, "–"), make("span", { class: "soft capacity" })),
      make("progress", { max: 1, value: 0, "aria-label": `Goodput of ${link.name} against its capacity` })),
    make("dl", { class: "measures" }, measure("rtt", "RTT"), measure("loss", "Loss"), measure("jitter", "Jitter")),
    make("div", { class: "riding" }, make("h4", null, "Riding here now"), make("ul", { class: "subnets" }), make("ul", { class: "subflows" })),
    make("p", { class: "stale-note" }),
  );
  if (actions) card.append(controls(link, actions));
  return card;
}

function controls(link, actions) {
  const button = make("button", { class: "button button-danger", type: "button", "data-fault": link.name }, `Black-hole ${link.name}`);
  button.addEventListener("click", () => actions.toggleFault(link.name, button.dataset.does, button));
  return make("div", { class: "link-controls" }, button, make("span", { class: "fault-note" }));
}

function sinceWords(link, nowS) {
  if (!link.sinceS) return "";
  const side = link.state === "down" && DIRECTION_WORDS[link.direction] ? `, ${DIRECTION_WORDS[link.direction]}` : "";
  return `${link.state.replace("_", " ")} since ${clock(link.sinceS)} (${span(nowS - link.sinceS)})${side}`;
}

function showRiding(card, link) {
  const key = JSON.stringify([link.subnets, link.subflows, link.state]);
  if (card.ridingKey === key) return;
  card.ridingKey = key;
  const tags = link.subnets.map((subnet) =>
    make("li", { class: "tag", "data-subnet": subnet.index }, `VS ${subnet.index}`, make("span", { class: "number" }, subnet.prefix), subnet.isDefault ? "default" : null));
  const nothing = link.state === "up" ? "no virtual subnet" : "nothing: moved away";
  find(".subnets", card).replaceChildren(...(tags.length ? tags : [make("li", { class: "soft small" }, nothing)]));
  const shown = link.subflows.slice(0, SUBFLOWS_SHOWN).map((flow) =>
    make("li", null, make("span", { class: "number" }, `${flow.local} → ${flow.remote}`), make("span", { class: "soft number" }, flow.words)));
  const more = link.subflows.length - shown.length;
  if (more > 0) shown.push(make("li", { class: "soft" }, `and ${more} more`));
  if (!link.subflows.length) shown.push(make("li", { class: "soft" }, "no subflow seen"));
  find(".subflows", card).replaceChildren(...shown);
}

function showControls(card, link) {
  const button = find("[data-fault]", card);
  if (!button) return;
  // A fault put in behind the portal’s back is unknown here: what is down can always be restored.
  const does = link.fault || link.state === "down" ? "restore" : "blackhole";
  if (button.dataset.does !== does) {
    button.dataset.does = does;
    setText(button, does === "restore" ? `Restore ${link.name}` : `Black-hole ${link.name}`);
    button.classList.toggle("button-danger", does === "blackhole");
  }
  setText(find(".fault-note", card), link.fault ? `lab fault: ${link.fault}` : "");
}

function staleWords(link, nowS, streamStale) {
  if (streamStale) return `Stale: last seen ${clock(link.measuredAtS)}`;
  if (link.isStale) return `No measurement for ${span(nowS - (link.measuredAtS ?? link.sinceS ?? nowS))}: figures are of ${clock(link.measuredAtS)}`;
  return "";
}

/** Bring a card up to date, in place; the state goes in first so that it is painted with the same frame. */
function update(card, link, nowS, streamStale) {
  setData(card, "state", link.state);
  const isOld = streamStale || link.isStale;
  setState(find(".state", card), isOld ? "stale" : link.state, isOld ? `was ${link.state}` : link.state);
  setText(find(".since", card), sinceWords(link, nowS));
  setText(find(".provider", card), [link.provider, link.delayMs ? `${link.delayMs} ms one way` : ""].filter(Boolean).join(" · "));
  setText(find(".big", card), rate(link.goodputBps));
  setText(find(".capacity", card), ` of ${rate(link.capacityBps)}`);
  find("progress", card).value = link.capacityBps ? Math.min(1, (link.goodputBps ?? 0) / link.capacityBps) : 0;
  setText(find('[data-measure="rtt"]', card), link.state === "down" ? "–" : milliseconds(link.rttMs));
  setText(find('[data-measure="loss"]', card), percent(link.lossRatio));
  setText(find('[data-measure="jitter"]', card), link.state === "down" ? "–" : milliseconds(link.jitterMs));
  setData(card, "fresh", isOld ? "stale" : "live");
  setText(find(".stale-note", card), staleWords(link, nowS, streamStale));
  showRiding(card, link);
  showControls(card, link);
}

/** Show all links. actions is null for those who may not inject faults. */
export function showCards(holder, links, { nowS, streamStale, actions }) {
  if (!links.length) {
    if (!find(".empty", holder)) holder.replaceChildren();
    holder.replaceChildren(make("p", { class: "empty" }, "No WAN link is in the inventory yet. Add links of the kind “wan” in the admin."));
    return;
  }
  links.forEach((link, index) => {
    let card = find(`[data-link="${CSS.escape(link.name)}"]`, holder);
    if (!card) card = build(link, index, actions);
    if (holder.children[index] !== card) holder.insertBefore(card, holder.children[index] ?? null);
    update(card, link, nowS, streamStale);
  });
  while (holder.children.length > links.length) holder.lastElementChild.remove();
}
