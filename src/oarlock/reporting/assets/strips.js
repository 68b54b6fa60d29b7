/** The run from its first call to its last, in strips under each other: time, memory, bytes, errors.  One column is one call. */
function showStrips(place) {
  let cursor = null, hover = null, blocks = [], columns = null;
  const last = Math.max(calls.length, 1);

  sized(place, (width) => {
    const narrow = width < 560;
    const left = narrow ? 58 : 66, right = width - (narrow ? 4 : 10);
    const x = (call) => left + ((right - left) * call) / last;
    columns = { left, right, x };
    const svg = draw("svg", { role: "img", "aria-label": "Time, memory, bytes and errors of the calls in order" });
    let y = 0;
    blocks = [];
    const strip = (title, unit, height, paint) => {
      svg.append(draw("text", { class: "what", x: left, y: y + 14 }, title, draw("tspan", { class: "unit", dx: 8 }, narrow ? "" : unit)));
      paint({ top: y + 24, bottom: y + 24 + height, height });
      y += height + 24 + 26;
    };
    strip("Time of each call", "what limits it by colour", narrow ? 64 : 84, (box) => timeStrip(svg, box, x, left, right));
    strip("Memory",
      `tensors in ${program.storages.length} blocks of ${text.bytes(program.planned)}; line: what is needed at once; weights apart`,
      narrow ? 150 : 230,
      (box) => (blocks = memoryStrip(svg, box, x, left, right)));
    strip("Bytes of each call", "weights that it reads ↑, tensors that it makes ↓", narrow ? 90 : 120, (box) => bytesStrip(svg, box, x,
      left, right));
    if (accuracy) strip("Error beside Paddle", "of each result's scale: introduced by the call itself, ○ carried to it", narrow ? 110
      : 150, (box) => errorStrip(svg, box, x, left, right));
    const height = y - 8;
    for (let call = 0, step = nice(last / (narrow ? 4 : 10)); x(call + 0.5) < right - (narrow || !call ? 0 : 48); call += step)
      svg.append(draw("text", { class: "axis", x: x(call + 0.5), y: height - 2, "text-anchor": "middle" }, call));
    svg.append(draw("text", { class: "axis", x: right, y: height - 2, "text-anchor": "end" }, narrow ? "" : "call →"));
    hover = draw("rect", { class: "hover", y: 0, height: height - 16, width: 0 });
    cursor = draw("rect", { class: "cursor", y: 0, height: height - 16, width: 0 });
    svg.append(hover, cursor);
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    const at = (event) => {
      const px = event.clientX - svg.getBoundingClientRect().left;
      return px < left || px > right ? null : Math.min(last - 1, Math.floor(((px - left) / (right - left)) * last));
    };
    svg.addEventListener("pointermove", (event) => {
      const call = at(event);
      if (call === null || !calls[call]) return;
      put(hover, call);
      const tensor = event.target.dataset?.tensor;
      hint(event, tensor === undefined ? `call ${call}: ${describe(calls[call])}` : ofTensor(tensors[tensor]));
    });
    svg.addEventListener("pointerleave", (event) => {
      hover.setAttribute("width", 0);
      hint(event, "");
    });
    svg.addEventListener("click", (event) => {
      const tensor = event.target.dataset?.tensor;
      const call = tensor === undefined ? at(event) : tensors[tensor].made;
      if (call !== null && calls[call]) selection.pick(call, "strips");
    });
    place.replaceChildren(svg);
    mark(selection.call);
  });

  const put = (rect, call) => {
    rect.setAttribute("x", columns.x(call));
    rect.setAttribute("width", Math.max(2, columns.x(call + 1) - columns.x(call)));
  };
  const mark = (call) => {
    if (!cursor) return;
    if (call === null) cursor.setAttribute("width", 0);
    else put(cursor, call);
    for (const [rect, t] of blocks) {
      rect.classList.toggle("reads", call !== null && calls[call].reads.includes(t));
      rect.classList.toggle("gives", call !== null && calls[call].gives.includes(t));
    }
  };
  selection.watch(mark);
}

const ofTensor = (tensor) =>
  `${tensor.name}\n${text.shape(tensor)}, ${text.bytes(tensor.bytes)}\nmade by call ${tensor.made}, needed until call ${tensor.last}`;

/** 1, 2 or 5 times a power of ten, at least `value` and 1. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return Math.max(1, [1, 2, 5, 10].map((n) => n * power).find((n) => n >= value));
}

function axis(svg, box, left, right, values, y, words) {
  for (const value of values)
    svg.append(draw("line", { class: "grid", x1: left, y1: y(value), x2: right, y2: y(value) }),
      draw("text", { class: "axis", x: left - 5, y: y(value) + 4, "text-anchor": "end" }, words(value)));
}

function timeStrip(svg, box, x, left, right) {
  const most = Math.max(...calls.map((call) => call.seconds), 1e-12);
  const y = (s) => box.bottom - (box.height * s) / most;
  axis(svg, box, left, right, [0, most], y, (v) => (v ? text.time(v) : "0"));
  for (const call of calls) {
    const wide = x(call.number + 1) - x(call.number);
    svg.append(draw("rect", { class: `fill ${call.limit}`, x: x(call.number) + Math.min(0.6, wide * 0.08), width: Math.max(0.8,
      wide - Math.min(1.2, wide * 0.16)),
      y: y(call.seconds), height: Math.max(0.8, box.bottom - y(call.seconds)) }));
  }
}

/** Blocks of memory from the ground up, in the order in which they are first asked for; returns [rect, tensor]. */
function memoryStrip(svg, box, x, left, right) {
  const rects = [];
  const total = Math.max(program.planned, program.peak.bytes, 1);
  const y = (bytes) => box.bottom - (box.height * bytes) / total;
  const step = nice(total / 4);
  axis(svg, box, left, right, Array.from({ length: Math.floor(total / step) + 1 }, (_, i) => i * step), y, (v) => (v ? text.bytes(v)
    : "0"));
  let ground = 0;
  const base = program.storages.map((storage, s) => {
    const own = tensors.filter((t) => t.storage === s);
    const end = Math.max(storage.since, ...own.map((t) => t.last)) + 1;
    if (own.length) svg.append(draw("rect", { class: "held", x: x(storage.since), width: x(end) - x(storage.since),
      y: y(ground + storage.bytes), height: y(ground) - y(ground + storage.bytes) }));
    ground += storage.bytes;
    return ground - storage.bytes;
  });
  tensors.forEach((tensor, t) => {
    if (tensor.storage === null || tensor.made < 0) return;
    const low = base[tensor.storage] + tensor.offset;
    const rect = draw("rect", { class: `block ${tensor.kind}`, "data-tensor": t, x: x(tensor.made), width: Math.max(1,
      x(tensor.last + 1) - x(tensor.made)),
      y: y(low + tensor.bytes), height: Math.max(0.7, y(low) - y(low + tensor.bytes)) });
    svg.append(rect);
    rects.push([rect, t]);
    const room = x(tensor.last + 1) - x(tensor.made), tall = y(low) - y(low + tensor.bytes);
    if (room > 90 && tall > 14) svg.append(draw("text", { class: "label", x: x(tensor.made) + 5, y: y(low + tensor.bytes / 2) + 3.5 },
      tail(tensor.name, Math.floor((room - 10) / 6.2))));
  });
  let line = "";
  program.live.forEach((bytes,
    call) => (line += `${call ? "L" : "M"}${x(call).toFixed(1)},${y(bytes).toFixed(1)}L${x(call + 1).toFixed(1)},${y(bytes).toFixed(1)}`));
  svg.append(draw("path", { class: "use", d: line, "pointer-events": "none" }));
  if (program.peak.call !== null) {
    const at = (x(program.peak.call) + x(program.peak.call + 1)) / 2, after = at < (left + right) / 2;
    svg.append(draw("line", { class: "peak", x1: at, x2: at, y1: box.top - 4, y2: box.bottom, "pointer-events": "none" }),
      draw("text", { class: "halo label", x: at + (after ? 6 : -6), y: box.top + 6, "text-anchor": after ? "start" : "end" },
        `peak ${text.bytes(program.peak.bytes)}`));
  }
  return rects;
}

function bytesStrip(svg, box, x, left, right) {
  const up = Math.max(...calls.map((call) => call.weights ?? 0), 1), down = Math.max(...calls.map((call) => call.activations ?? 0), 1);
  const zero = box.top + (box.height * up) / (up + down);
  const y = (v) => zero - (box.height * v) / (up + down);
  axis(svg, box, left, right, [up, 0, -down].filter((v) => Math.abs(y(v) - zero) > 14 || v === 0), y, (v) => (v ? text.bytes(Math.abs(v))
    : "0"));
  for (const call of calls) {
    const wide = x(call.number + 1) - x(call.number), gap = Math.min(0.6, wide * 0.08);
    for (const [hue, value] of [["weight", call.weights ?? 0], ["activation", -(call.activations ?? 0)]])
      if (value) svg.append(draw("rect", { class: `fill ${hue}`, x: x(call.number) + gap, width: Math.max(0.8, wide - 2 * gap),
        y: Math.min(y(value), zero), height: Math.max(0.8, Math.abs(y(value) - zero)) }));
  }
}

function errorStrip(svg, box, x, left, right) {
  const layers = calls.filter((call) => call.error);
  const shown = layers.flatMap((call) => [call.error.introduced, call.error.carried]).filter((v) => v !== null && v > 0
    && Number.isFinite(v));
  const low = 10 ** Math.floor(Math.log10(Math.min(...shown, accuracy.tolerance / 10))),
    high = 10 ** Math.ceil(Math.log10(Math.max(...shown, accuracy.tolerance) * 1.2));
  const y = (v) => box.bottom - (box.height * Math.log(Math.min(Math.max(v ?? high, low), high) / low)) / Math.log(high / low);
  const powers = decades(low, high).filter((_, i, all) => all.length < 7 || i % 2 === 0);
  axis(svg, box, left, right, powers, y, (v) => `1e${Math.round(Math.log10(v))}`.replace("-", "−"));
  const limit = y(accuracy.tolerance);
  svg.append(draw("line", { class: "limit", x1: left, x2: right, y1: limit, y2: limit }),
    draw("text", { class: "halo label", x: right - 4, y: limit - 4, "text-anchor": "end", style: "fill:var(--bad)" },
      `tolerance ${accuracy.tolerance}`));
  for (const call of layers) {
    const at = (x(call.number) + x(call.number + 1)) / 2;
    svg.append(draw("circle", { class: "carried", cx: at, cy: y(call.error.carried), r: 3 }),
      draw("circle", { class: `fill ${guilty(call.error) ? "bad" : "output"}`, cx: at, cy: y(call.error.introduced), r: 3 }));
  }
}
