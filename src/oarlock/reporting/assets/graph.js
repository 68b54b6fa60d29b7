/** The calls as a graph: layers from top to bottom, panned by dragging, zoomed by buttons, pinches and Ctrl with the wheel. */
const NODE = { width: 230, height: 46, gapX: 26, gapY: 34 };

/** Nodes with x and y, and edges as lists of points: layers by the longest way from an input, crossings made fewer by sweeps. */
function layOut() {
  const nodes = calls.map((call) => ({ call, in: [], out: [] }));
  const edges = [];
  const ends = [];
  const end = (words, hue, tensor) => ends.push({ end: words, hue, tensor, in: [], out: [] }) && ends[ends.length - 1];
  tensors.forEach((tensor, t) => {
    let from = tensor.made >= 0 ? nodes[tensor.made] : null;
    if (tensor.kind === "input" && readers[t].length) from = end(tensor.name || "input", "input", tensor);
    if (!from) return;
    const to = [...new Set(readers[t])].filter((n) => n > tensor.made).map((n) => nodes[n]);
    if (tensor.kind === "output") to.push(end("output", "output", tensor));
    for (const node of to) edges.push({ from, to: node, tensor: t });
  });
  const all = [...ends.filter((n) => n.hue === "input"), ...nodes, ...ends.filter((n) => n.hue === "output")];
  for (const edge of edges) edge.from.out.push(edge), edge.to.in.push(edge);
  // makers come before readers in `all`
  for (const node of all) node.layer = node.in.reduce((most, e) => Math.max(most, e.from.layer + 1), 0);
  // what is given stands right above its first reader
  for (const node of all) if (node.hue === "input") node.layer = Math.max(0, Math.min(...node.out.map((e) => e.to.layer)) - 1);
  const layers = [];
  const put = (item) => (layers[item.layer] ??= []).push(item);
  all.forEach(put);
  // an edge over several layers has a place in each
  for (const edge of edges) {
    edge.way = [edge.from];
    for (let layer = edge.from.layer + 1; layer < edge.to.layer; layer++) {
      const bend = { layer, bend: true };
      put(bend);
      edge.way.push(bend);
    }
    edge.way.push(edge.to);
    for (let i = 1; i < edge.way.length; i++) {
      (edge.way[i - 1].down ??= []).push(edge.way[i]);
      (edge.way[i].up ??= []).push(edge.way[i - 1]);
    }
  }
  const filled = layers.map((layer) => layer ?? []);
  filled.forEach((layer) => layer.forEach((item, i) => (item.order = i)));
  const mean = (items, key) => items.reduce((sum, item) => sum + item[key], 0) / items.length;
  for (let sweep = 0; sweep < 8; sweep++) {
    const down = sweep % 2 === 0;
    for (const layer of down ? filled : [...filled].reverse()) {
      for (const item of layer) {
        const near = down ? item.up : item.down;
        item.wish = near ? mean(near, "order") : item.order;
      }
      layer.sort((a, b) => a.wish - b.wish).forEach((item, i) => (item.order = i));
    }
  }
  place(filled, mean);
  return { all, edges, height: filled.length * (NODE.height + NODE.gapY) - NODE.gapY };
}

/** x of all items: each near its neighbours, none upon another. */
function place(layers, mean) {
  const wide = (item) => (item.bend ? 14 : NODE.width) + NODE.gapX;
  for (const layer of layers) {
    let x = 0;
    for (const item of layer) {
      item.x = x + wide(item) / 2;
      x += wide(item);
    }
    for (const item of layer) item.x -= x / 2;
  }
  for (let sweep = 0; sweep < 14; sweep++) {
    const down = sweep % 2 === 0;
    for (const layer of down ? layers : [...layers].reverse()) {
      const wish = layer.map((item) => {
        const near = down ? (item.up ?? item.down) : (item.down ?? item.up);
        return near ? mean(near, "x") : item.x;
      });
      apart(layer, wish, wide);
    }
  }
  layers.forEach((layer, i) => layer.forEach((item) => (item.y = i * (NODE.height + NODE.gapY))));
}

/** Put items of a layer where they wish to be,
  as near as their order and widths let them: neighbours that push each other become one block. */
function apart(layer, wish, wide) {
  const blocks = [];
  layer.forEach((item, i) => {
    let block = { first: i, last: i, width: wide(item), sum: wish[i] - wide(item) / 2, count: 1 };
    block.x = block.sum;
    while (blocks.length && blocks[blocks.length - 1].x + blocks[blocks.length - 1].width > block.x) {
      const left = blocks.pop();
      block = { first: left.first, last: block.last, width: left.width + block.width, count: left.count + block.count,
        sum: left.sum + block.sum - block.count * left.width };
      block.x = block.sum / block.count;
    }
    blocks.push(block);
  });
  for (const block of blocks) {
    let x = block.x;
    for (let i = block.first; i <= block.last; i++) {
      layer[i].x = x + wide(layer[i]) / 2;
      x += wide(layer[i]);
    }
  }
}

/** A path through the places of an edge. */
function curve(way) {
  const half = NODE.height / 2;
  let path = "";
  for (let i = 1; i < way.length; i++) {
    const [a, b] = [way[i - 1], way[i]];
    const top = a.y + (a.bend ? half : NODE.height), bottom = b.y + (b.bend ? half : 0);
    const pull = (bottom - top) / 2;
    if (i === 1) path += `M${a.x.toFixed(1)},${top}`;
    path += `C${a.x.toFixed(1)},${top + pull} ${b.x.toFixed(1)},${bottom - pull} ${b.x.toFixed(1)},${bottom}`;
  }
  return path;
}

const COLOURS = {
  limit: ["what limits it", (call) => [call.limit, 14]],
  time: ["time", (call) => ["memory", 6 + 74 * Math.sqrt(call.seconds / Math.max(...calls.map((c) => c.seconds), 1e-12))]],
  bytes: ["weights", (call) => ["weight", 6 + 74 * Math.sqrt((call.weights ?? 0) / Math.max(...calls.map((c) => c.weights ?? 0), 1))]],
};
if (accuracy)
  COLOURS.error = ["error introduced", (call) => {
    if (!call.error) return ["unknown", 4];
    const size = call.error.introduced ?? Infinity;
    return [guilty(call.error) ? "bad" : "output", size ? Math.min(80, Math.max(6, 80 + 16 * Math.log10(size / accuracy.tolerance))) : 4];
  }];

function showGraph(panel) {
  const { all, edges, height } = layOut();
  const world = draw("g"), svg = draw("svg", { role: "img", "aria-label": "The kernels of the model as a graph" }, world);
  const lines = edges.map((edge) => {
    const line = draw("path", { class: "edge", d: curve(edge.way) });
    line.addEventListener("pointermove", (event) => hint(event,
      `${tensors[edge.tensor].name}\n${text.shape(tensors[edge.tensor])}, ${text.bytes(tensors[edge.tensor].bytes)}`));
    line.addEventListener("pointerleave", (event) => hint(event, ""));
    return line;
  });
  world.append(...lines);
  const longest = Math.max(...calls.map((call) => call.seconds), 1e-12);
  const boxes = new Map();
  for (const node of all) {
    const box = nodeBox(node, longest);
    world.append(box);
    if (node.call) boxes.set(node.call.number, box);
  }
  const left = Math.min(...all.map((n) => n.x)) - NODE.width / 2, right = Math.max(...all.map((n) => n.x)) + NODE.width / 2;
  const bounds = { left: left - 20, top: -20, width: right - left + 40, height: height + 40 };

  const view = { x: 0, y: 0, scale: 1 };
  const mini = miniature(all, bounds, (x, y) => centre(x, y));
  const zoom = make("div", { class: "zoom" },
    make("button", { type: "button", title: "closer", onclick: () => zoomAt(1.35) }, "+"),
    make("button", { type: "button", title: "farther", onclick: () => zoomAt(1 / 1.35) }, "−"),
    make("button", { type: "button", title: "the whole graph", onclick: fit }, "all"),
    make("button", { type: "button", title: "text at its size, from the top", onclick: start }, "1:1"));
  panel.append(svg, mini.svg, zoom);

  function apply() {
    world.setAttribute("transform", `translate(${view.x},${view.y}) scale(${view.scale})`);
    const { clientWidth: w, clientHeight: h } = panel;
    mini.show(-view.x / view.scale, -view.y / view.scale, w / view.scale, h / view.scale);
  }
  function zoomAt(factor, x = panel.clientWidth / 2, y = panel.clientHeight / 2) {
    const scale = Math.min(3, Math.max(0.03, view.scale * factor));
    view.x = x - ((x - view.x) * scale) / view.scale;
    view.y = y - ((y - view.y) * scale) / view.scale;
    view.scale = scale;
    apply();
  }
  function centre(x, y) {
    view.x = panel.clientWidth / 2 - x * view.scale;
    view.y = panel.clientHeight / 2 - y * view.scale;
    apply();
  }
  function fit() {
    view.scale = Math.min(panel.clientWidth / bounds.width, panel.clientHeight / bounds.height, 1.2);
    centre(bounds.left + bounds.width / 2, bounds.top + bounds.height / 2);
  }
  function start() {
    view.scale = Math.min(1, Math.max(0.85, (panel.clientWidth - mini.width - 20) / bounds.width));
    view.y = 0;
    const first = all.find((n) => n.layer === 0) ?? all[0];
    view.x = (panel.clientWidth - mini.width) / 2 - (first ? first.x : 0) * view.scale;
    view.y = -bounds.top * view.scale;
    apply();
  }
  handle(panel, view, apply, zoomAt);
  let before = 0;
  sized(panel, (width) => {
    view.x += (width - before) / 2; // what is in the middle stays there
    before = width;
    view.touched ? apply() : start();
  });

  selection.watch((call, from) => {
    boxes.forEach((box, number) => box.classList.toggle("on", number === call));
    lines.forEach((line, i) => {
      line.classList.toggle("reads", call !== null && edges[i].to.call?.number === call);
      line.classList.toggle("gives", call !== null && edges[i].from.call?.number === call);
    });
    const node = call === null ? null : all.find((n) => n.call?.number === call);
    if (node && from !== "graph") {
      if (view.scale < 0.5) view.scale = 0.8;
      view.touched = true;
      centre(node.x + mini.width / 2 / view.scale, node.y + NODE.height / 2);
    }
  });
  return {
    colour(mode) {
      for (const node of all) {
        if (!node.call) continue;
        const [hue, depth] = COLOURS[mode][1](node.call);
        const box = boxes.get(node.call.number);
        box.classList.remove(node.hue ?? COLOURS.limit[1](node.call)[0]);
        box.classList.add((node.hue = hue));
        box.style.setProperty("--depth", `${depth.toFixed(0)}%`);
      }
    },
    find(words) {
      const wanted = words.trim().toLowerCase();
      const found = [];
      for (const call of calls) {
        const all = `${call.title} ${call.kernel} ${call.operations.flat().join(" ")}`.toLowerCase();
        const hit = wanted !== "" && all.includes(wanted);
        if (hit) found.push(call.number);
        boxes.get(call.number).classList.toggle("hit", hit);
        boxes.get(call.number).classList.toggle("dim", wanted !== "" && !hit);
      }
      return found;
    },
  };
}

function nodeBox(node, longest) {
  const { width: w, height: h } = NODE;
  const at = `translate(${(node.x - w / 2).toFixed(1)},${node.y})`;
  if (!node.call) {
    const words = `${text.shape(node.tensor)}`;
    return draw("g", { class: `node end ${node.hue}`, transform: at },
      draw("rect", { class: "box", width: w, height: h, rx: h / 2 }),
      draw("text", { class: "t", x: w / 2, y: 19, "text-anchor": "middle" }, fitted(node.end, w - 30, "600 12.5px")),
      draw("text", { class: "s", x: w / 2, y: 34, "text-anchor": "middle" }, fitted(words, w - 30, "10.5px")));
  }
  const { call } = node;
  const [hue, depth] = COLOURS.limit[1](call);
  const box = draw("g", { class: `node ${hue}`, transform: at, style: `--depth:${depth}%`, "data-call": call.number, tabindex: 0,
    role: "button", "aria-label": label(call) },
    draw("rect", { class: "box", width: w, height: h, rx: 7 }),
    draw("rect", { class: "tint", width: w, height: h, rx: 7 }),
    draw("rect", { class: "side", width: 5, height: h - 12, x: 6, y: 6, rx: 2.5 }),
    draw("text", { class: "t", x: 18, y: 19 }, fitted(brief(call), w - 34 - 7 * text.time(call.seconds).length, "600 12.5px")),
    draw("text", { class: "n", x: w - 9, y: 19 }, text.time(call.seconds)),
    draw("text", { class: "s", x: 18, y: 34 }, fitted(call.handle || call.kernel, w - 27, "10.5px", true)),
    draw("rect", { class: "share", x: 18, y: h - 6, height: 2.5, rx: 1.2, width: Math.max(1,
      ((w - 27) * call.seconds) / longest).toFixed(1) }));
  box.addEventListener("pointermove", (event) => hint(event, describe(call)));
  box.addEventListener("pointerleave", (event) => hint(event, ""));
  box.addEventListener("keydown", (event) => event.key === "Enter" && selection.pick(call.number, "graph"));
  return box;
}

/** The whole graph, small, with what is seen of it. */
function miniature(all, bounds, go) {
  const svg = draw("svg", { class: "mini", viewBox: `${bounds.left} ${bounds.top} ${bounds.width} ${bounds.height}`,
    preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const node of all) {
    if (!node.call && !node.end) continue;
    const hue = node.end ? node.hue : node.call.limit;
    svg.append(draw("rect", { class: hue, style: "fill:var(--hue)", x: node.x - NODE.width / 2, y: node.y, width: NODE.width,
      height: NODE.height }));
  }
  const seen = draw("rect", { class: "view", rx: 4 });
  svg.append(seen);
  const move = (event) => {
    const box = svg.getBoundingClientRect();
    go(bounds.left + ((event.clientX - box.left) / box.width) * bounds.width,
      bounds.top + ((event.clientY - box.top) / box.height) * bounds.height);
  };
  svg.addEventListener("pointerdown", (event) => {
    event.stopPropagation();
    svg.setPointerCapture(event.pointerId);
    move(event);
  });
  svg.addEventListener("pointermove", (event) => event.buttons && move(event));
  return {
    svg,
    get width() {
      return svg.getBoundingClientRect().width + 8;
    },
    show(x, y, width, height) {
      const l = Math.max(x, bounds.left), t = Math.max(y, bounds.top);
      seen.setAttribute("x", l);
      seen.setAttribute("y", t);
      seen.setAttribute("width", Math.max(1, Math.min(x + width, bounds.left + bounds.width) - l));
      seen.setAttribute("height", Math.max(1, Math.min(y + height, bounds.top + bounds.height) - t));
    },
  };
}

/** Dragging, pinching, clicking, and the wheel. */
function handle(panel, view, apply, zoomAt) {
  const held = new Map();
  let moved = 0, target = null;
  panel.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button")) return;
    held.set(event.pointerId, { x: event.clientX, y: event.clientY });
    target = event.target.closest(".node");
    moved = 0;
  });
  window.addEventListener("pointermove", (event) => {
    const before = held.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    const box = panel.getBoundingClientRect();
    if (held.size === 2) {
      const other = [...held].find(([id]) => id !== event.pointerId)[1];
      const span = (p) => Math.hypot(p.x - other.x, p.y - other.y);
      zoomAt(span(now) / Math.max(span(before), 1), (now.x + other.x) / 2 - box.left, (now.y + other.y) / 2 - box.top);
    } else {
      view.x += now.x - before.x;
      view.y += now.y - before.y;
      apply();
    }
    moved += Math.hypot(now.x - before.x, now.y - before.y);
    if (moved > 4) panel.classList.add("held");
    view.touched = true;
    held.set(event.pointerId, now);
  });
  const release = (event) => {
    if (!held.delete(event.pointerId)) return;
    panel.classList.remove("held");
    if (event.type === "pointerup" && moved <= 4 && target?.dataset.call) selection.pick(Number(target.dataset.call), "graph");
  };
  window.addEventListener("pointerup", release);
  window.addEventListener("pointercancel", release);
  panel.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
    event.preventDefault();
    const box = panel.getBoundingClientRect();
    view.touched = true;
    zoomAt(Math.exp(-event.deltaY / 240), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
}
