/** All that is known of the picked call. */
function showDetails(place) {
  const paint = (call) => {
    place.classList.toggle("open", call !== null);
    place.replaceChildren(...(call === null ? nothing() : details(calls[call])));
  };
  selection.watch(paint);
  paint(null);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") selection.pick(null);
    if (selection.call === null || event.target.closest("input,select")) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && calls[selection.call + step]) selection.pick(selection.call + step, "keys");
  });
}

const nothing = () => [
  make("h2", {}, "Pick a kernel"),
  make("p", { class: "soft" },
    "A node, a bar, a dot, a block of memory or a row: the same kernel is then marked everywhere, and " +
      "what is known of it " +
      "stands here. ← and → go to its neighbours, Esc lets go."),
];

function details(call) {
  const row = call.row;
  const close = make("button", { type: "button", class: "close", title: "close", onclick: () => selection.pick(null) }, "✕");
  const shared = folder(call.operations.map(([, handle]) => handle).filter(Boolean));
  const handles = call.operations.map(([operator, handle]) => make("li", {}, make("b", {}, operator), handle
    ? ` ${handle.slice(shared.length)}` : ""));
  const facts = [["call",
    `${call.number} of ${calls.length}${call.times > 1 ? `, runs ${call.times} times` : ""}` +
      (call.function === "main" ? "" : ` (in ${call.function})`)], ["time", text.time(call.seconds)]];
  if (row) {
    const many = row.calls > 1 ? ` (${row.calls} calls)` : "";
    facts.push([`kernel's share${many}`, `${text.part(row.share, 1)} (${text.time(row.seconds)})`], ["median", text.time(row.median_s)]);
    if (row.roofline_s !== null) facts.push(["roofline", `${text.time(row.roofline_s)}, ${text.part(row.reached)} reached`]);
    if (row.operations !== null) facts.push(["work", text.flop(row.operations)]);
    if (row.flops_per_s) facts.push(["rate", text.rate(row.flops_per_s)]);
    if (row.bytes !== null) facts.push(["moves", `${text.bytes(row.bytes)}${row.intensity ? `, ${row.intensity.toFixed(1)} FLOP/B` : ""}`]);
    for (const [memory, sizes] of Object.entries(row.memory ?? {})) {
      const told = Object.entries(sizes).map(([how, size]) => `${text.bytes(size)} ${how === "held" ? "held at most" : how}`);
      facts.push([memory, told.join(", ")]);
    }
    if (row.schedule) facts.push(["schedule", row.schedule]);
    if (row.workload && row.workload.split(" ").length > 2) facts.push(["workload", row.workload]);
  }
  facts.push(["weights", text.bytes(call.weights ?? 0)], ["makes", text.bytes(call.activations ?? 0)], ["in memory then",
    text.bytes(program.live[call.number])]);
  return [close, make("h2", {}, label(call)), make("div", { class: "soft", style: "overflow-wrap:anywhere" }, call.kernel), verdict(call),
    make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])),
    ...candidates(row), ...errors(call),
    ...(handles.length ? [make("h3", {}, handles.length > 1 ? "operations of the model" : "operation of the model"), make("ul",
      { class: "handles" }, ...(shared ? [make("li", {}, `in ${shared}`)] : []), ...handles)] : []),
    ...links("reads", call.reads, (tensor) => tensor.made), ...links("makes", call.gives, (_, t) => readers[t][0] ?? -1)];
}

/** The folder that all paths stand in. */
function folder(paths) {
  if (paths.length < 2) return "";
  let shared = paths[0];
  for (const path of paths) while (!path.startsWith(shared)) shared = shared.slice(0, -1);
  return shared.slice(0, shared.lastIndexOf("/") + 1);
}

function verdict(call) {
  const { row } = call;
  if (!row || !LIMITS[row.limit]) return "";
  const lost = row.roofline_s === null ? "" : ` ${text.time(Math.max(row.seconds - row.roofline_s, 0))} over its roofline.`;
  const words = LIMITS[row.limit];
  return make("div", { class: `verdict ${row.limit}` }, `${words[0].toUpperCase()}${words.slice(1)}.${lost}`);
}

/** The candidate that was chosen and what the others took, as far as records know. */
function candidates(row) {
  if (!row || !row.candidate) return [];
  const known = row.measured ?? [];
  const title = make("h3", {}, "candidates, as tuning measured them");
  if (!known.length) return [make("h3", {}, "candidate"), make("div", { class: "soft" },
    `${row.candidate} (nothing measured: the target's own choice)`)];
  const longest = Math.max(...known.map((c) => c.seconds ?? 0), 1e-12);
  return [title, make("div", {}, ...known.map((c) => {
    const mine = c.candidate === row.candidate;
    return make("div", { class: `pick ${mine ? "output" : "unknown"}` },
      make(mine ? "b" : "span", {}, `${mine ? "✓ " : ""}${c.candidate}`),
      make("span", { style: "text-align:right" }, c.failed ? "failed" : text.time(c.seconds)),
      make("span", { class: "bar", style: `width:${Math.max(1, (100 * (c.seconds ?? 0)) / longest)}%` }, make("i",
        { style: "width:100%" })));
  }))];
}

function errors(call) {
  if (!accuracy) return [];
  if (!call.error) return [make("h3", {}, "beside Paddle"), make("div", { class: "soft" }, "gives nothing that Paddle has")];
  const { introduced, carried, why, fed } = call.error;
  const words = why ? why : `introduces ${text.error(introduced)} of its result's scale, carries ${text.error(carried)}`;
  const bad = guilty(call.error);
  return [make("h3", {}, "beside Paddle"), make("div", { class: `verdict ${bad ? "bad" : "output"}` },
    `${words}${fed ? "" : "; not all that it read was Paddle's"}`)];
}

function links(title, numbers, goal) {
  if (!numbers.length) return [];
  return [make("h3", {}, title), ...numbers.slice(0, 12).map((t) => {
    const tensor = tensors[t], to = goal(tensor, t);
    const name = tensor.name ? tail(tensor.name, 44) : tensor.kind;
    const button = make("button", { type: "button", class: `link ${tensor.kind}`, disabled: to < 0 ? "" : null, title: tensor.name },
      make("i"), `${name} · ${text.shape(tensor)} · ${text.bytes(tensor.bytes)}`);
    if (to >= 0) button.addEventListener("click", () => selection.pick(to, "details"));
    return button;
  }), numbers.length > 12 ? make("div", { class: "soft" }, `and ${numbers.length - 12} more`) : ""];
}
