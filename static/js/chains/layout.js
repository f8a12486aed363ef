// Where each part of a hybrid chain stands: a series-parallel layout, left to right or top to bottom. Pure geometry.
//
// A series takes the sum of its parts along the way, a parallel block the sum of its branches across it. Parts next to
// each other on one server share one group box; a server that comes again later gets another box with the same label.

const SIZES = {
  right: { along: 128, across: 48, gap: 34, between: 18, point: 26, pad: 12, labelAlong: 0, labelAcross: 20 },
  down: { along: 48, across: 104, gap: 30, between: 12, point: 24, pad: 8, labelAlong: 18, labelAcross: 0 },
};

export const CLASSIFIER = "classifier";

/** The server that runs all of a node, "" when several do. */
export function serverOf(node) {
  if (node.kind === "nf") return node.server;
  const children = node.kind === "series" ? node.parts : node.branches;
  const servers = new Set(children.map(serverOf));
  if (node.kind === "parallel") servers.add(node.server);
  return servers.size === 1 ? [...servers][0] : "";
}

/** Where a packet is when it enters a node: the server of its first network function. */
const entryOf = (node) => (node.kind === "nf" ? node.server : entryOf((node.kind === "series" ? node.parts : node.branches)[0]));

/** The network functions of a node, left to right. */
export function leavesOf(node) {
  return node.kind === "nf" ? [node] : (node.kind === "series" ? node.parts : node.branches).flatMap(leavesOf);
}

const branchFormula = (branch) => (branch.kind === "series" ? `(${formulaOf(branch)})` : formulaOf(branch));

/** A hybrid chain in one line: vpn → (monitor ∥ (firewall → load-balancer)). */
export function formulaOf(node) {
  if (node.kind === "nf") return node.name;
  if (node.kind === "series") return node.parts.map(formulaOf).join(" → ");
  return `(${node.branches.map(branchFormula).join(" ∥ ")})`;
}

/** Parts or branches, put together where neighbours run on one server: [{server, items}]. */
function runsOf(children) {
  const runs = [];
  for (const child of children) {
    const server = serverOf(child.node);
    const last = runs.at(-1);
    if (last && server && last.server === server) last.items.push(child);
    else runs.push({ server, items: [child] });
  }
  return runs;
}

/** Branches of one server side by side, in the order in which servers come first. */
function branchesByServer(node) {
  const order = [...new Set(node.branches.map(serverOf))];
  return node.branches
    .map((branch, index) => ({ node: branch, copy: node.copies[index], branch: index }))
    .sort((one, other) => order.indexOf(serverOf(one.node)) - order.indexOf(serverOf(other.node)) || one.branch - other.branch);
}

/** Collects boxes while the tree is walked; coordinates are (along, across) of the upper left corner. */
class Plotter {
  constructor(size) {
    this.size = size;
    this.nodes = [];
    this.edges = [];
    this.groups = [];
    this.nextPoint = 1;
  }

  measure(node, outer) {
    const server = serverOf(node);
    if (server && server !== outer) return this.padded(this.measureInside(node, server));
    return this.measureInside(node, outer);
  }

  /** Room for a group: its label's height counts above and below, so that centre lines stay straight. */
  padded({ along, across }) {
    const { pad, labelAlong, labelAcross } = this.size;
    return { along: along + 2 * pad + labelAlong, across: across + 2 * pad + 2 * labelAcross };
  }

  measureRun(run, outer, stack) {
    const isGroup = run.server && run.server !== outer;
    const size = stack(run.items.map((item) => this.measure(item.node, isGroup ? run.server : outer)));
    return isGroup ? this.padded(size) : size;
  }

  alongStack = (sizes) => ({
    along: sizes.reduce((sum, size) => sum + size.along, 0) + this.size.gap * (sizes.length - 1),
    across: Math.max(...sizes.map((size) => size.across)),
  });

  acrossStack = (sizes) => ({
    along: Math.max(...sizes.map((size) => size.along)),
    across: sizes.reduce((sum, size) => sum + size.across, 0) + this.size.between * (sizes.length - 1),
  });

  measureInside(node, outer) {
    if (node.kind === "nf") return { along: this.size.along, across: this.size.across };
    if (node.kind === "series") {
      return this.alongStack(runsOf(node.parts.map((part) => ({ node: part }))).map((run) => this.measureRun(run, outer, this.alongStack)));
    }
    const block = this.acrossStack(runsOf(branchesByServer(node)).map((run) => this.measureRun(run, outer, this.acrossStack)));
    return { along: block.along + 2 * (this.size.point + this.size.gap), across: block.across };
  }

  /**
   * Place a node with its centre line at `middle`; returns the ids where packets enter and leave, and on which servers.
   * Args: outer, the server whose box is drawn around already; incoming, where the packet is before.
   */
  place(node, along, middle, outer, incoming) {
    const server = serverOf(node);
    if (server && server !== outer) {
      const inside = this.measureInside(node, server);
      return this.group(server, inside, along, middle, (start, centre) => this.placeInside(node, start, centre, server, incoming));
    }
    return this.placeInside(node, along, middle, outer, incoming);
  }

  group(server, inside, along, middle, placeContent) {
    const { pad, labelAlong, labelAcross } = this.size;
    this.groups.push({ id: `group-${this.groups.length}`, server, along, across: middle - inside.across / 2 - pad - labelAcross,
      alongSize: inside.along + 2 * pad + labelAlong, acrossSize: inside.across + 2 * pad + labelAcross });
    return placeContent(along + pad + labelAlong, middle);
  }

  placeInside(node, along, middle, outer, incoming) {
    if (node.kind === "nf") return this.placeNf(node, along, middle);
    return node.kind === "series" ? this.placeSeries(node, along, middle, outer, incoming) : this.placeParallel(node, along, middle, outer, incoming);
  }

  placeNf(node, along, middle) {
    const id = `nf-${node.index}`;
    this.nodes.push({ id, kind: "nf", index: node.index, label: node.name, type: node.type, server: node.server,
      along, across: middle - this.size.across / 2, alongSize: this.size.along, acrossSize: this.size.across });
    return { first: id, last: id, firstServer: node.server, lastServer: node.server };
  }

  placeSeries(node, along, middle, outer, incoming) {
    let at = along;
    const ends = [];
    for (const run of runsOf(node.parts.map((part) => ({ node: part })))) {
      const isGroup = run.server && run.server !== outer;
      const inner = isGroup ? run.server : outer;
      const sizes = run.items.map((item) => this.measure(item.node, inner));
      const inside = this.alongStack(sizes);
      const put = (start, centre) => {
        let position = start;
        run.items.forEach((item, index) => {
          ends.push(this.place(item.node, position, centre, inner, ends.at(-1)?.lastServer ?? incoming));
          position += sizes[index].along + this.size.gap;
        });
      };
      if (isGroup) this.group(run.server, inside, at, middle, put);
      else put(at, middle);
      at += (isGroup ? this.padded(inside) : inside).along + this.size.gap;
    }
    ends.slice(1).forEach((end, index) => this.connect(ends[index], end));
    return { first: ends[0].first, last: ends.at(-1).last, firstServer: ends[0].firstServer, lastServer: ends.at(-1).lastServer };
  }

  point(kind, server, along, middle, more) {
    const id = `${kind}-${this.nextPoint}`;
    this.nodes.push({ id, kind, label: kind, server, along, across: middle - this.size.point / 2, alongSize: this.size.point, acrossSize: this.size.point, ...more });
    return id;
  }

  placeParallel(node, along, middle, outer, incoming) {
    const { size } = this;
    const whole = this.measureInside(node, outer);
    const leaves = leavesOf(node).map((leaf) => leaf.index);
    const entries = new Set(node.branches.map(entryOf));
    const mirrorServer = entries.size === 1 ? [...entries][0] : incoming;
    const mirror = this.point("mirror", mirrorServer, along, middle, { branches: node.branches.length, leaves });
    const merge = this.point("merge", node.server, along + whole.along - size.point, middle, { branches: node.branches.length, leaves });
    this.nextPoint += 1;
    const inner = along + size.point + size.gap;
    const room = whole.along - 2 * (size.point + size.gap);
    let across = middle - whole.across / 2;
    for (const run of runsOf(branchesByServer(node))) {
      const isGroup = run.server && run.server !== outer;
      const innerServer = isGroup ? run.server : outer;
      const sizes = run.items.map((item) => this.measure(item.node, innerServer));
      const inside = this.acrossStack(sizes);
      const box = isGroup ? this.padded(inside) : inside;
      const start = inner + (room - box.along) / 2;
      const put = (from, centre) => {
        let top = centre - inside.across / 2;
        run.items.forEach((item, index) => {
          const end = this.place(item.node, from + (inside.along - sizes[index].along) / 2, top + sizes[index].across / 2, innerServer, mirrorServer);
          this.edges.push({ from: mirror, to: end.first, copy: item.copy, isWire: mirrorServer !== end.firstServer });
          this.edges.push({ from: end.last, to: merge, copy: item.copy, isWire: node.server !== end.lastServer });
          top += sizes[index].across + size.between;
        });
      };
      if (isGroup) this.group(run.server, inside, start, across + box.across / 2, put);
      else put(start, across + box.across / 2);
      across += box.across + size.between;
    }
    return { first: mirror, last: merge, firstServer: mirrorServer, lastServer: node.server };
  }

  connect(before, after) {
    this.edges.push({ from: before.last, to: after.first, copy: "", isWire: before.lastServer !== after.firstServer });
  }
}

const turned = (box, isDown) =>
  isDown
    ? { ...box, x: box.across, y: box.along, width: box.acrossSize, height: box.alongSize }
    : { ...box, x: box.along, y: box.across, width: box.alongSize, height: box.acrossSize };

/**
 * Lay a hybrid chain out. Returns {nodes, edges, groups, width, height}; x and y are upper left corners, pixels.
 * Args: root, a plan's NODE; direction, "right" or "down". Groups name the server, nodes their kind:
 * ingress, nf, mirror, merge, egress.
 */
export function layoutOf(root, direction = "right") {
  const size = SIZES[direction];
  const plotter = new Plotter(size);
  const whole = plotter.measure(root, "");
  const middle = whole.across / 2 + size.pad;
  const ingress = plotter.point("ingress", CLASSIFIER, 4, middle);
  const body = plotter.place(root, 4 + size.point + size.gap, middle, "", CLASSIFIER);
  const end = 4 + size.point + size.gap + whole.along + size.gap;
  const egress = plotter.point("egress", CLASSIFIER, end, middle);
  plotter.connect({ last: ingress, lastServer: CLASSIFIER }, body);
  plotter.connect(body, { first: egress, firstServer: CLASSIFIER });
  const isDown = direction === "down";
  const along = end + size.point + 4;
  const across = whole.across + 2 * size.pad;
  return {
    direction,
    nodes: plotter.nodes.map((node) => turned(node, isDown)),
    edges: plotter.edges.map((edge, index) => ({ id: `edge-${index}`, ...edge })),
    groups: plotter.groups.map((group) => turned(group, isDown)),
    width: isDown ? across : along,
    height: isDown ? along : across,
  };
}
