/** Kernels by time, calls in order, and what is in memory at the peak: as rows that can be picked. */
const OPEN = 25; // rows that are shown at once

function showKernels(place) {
  const longest = Math.max(...kernels.map((row) => row.seconds), 1e-12);
  const rows = kernels.map((row, i) => kernelRow(row, i + 1, longest));
  const heading = make("div", { class: "row head" }, make("span"), make("span", {}, "kernel"), make("span", { class: "track" },
    "time; filled: what it could be"),
    make("span", { class: "n" }, "time"), make("span", { class: "n" }, "share"), make("span", { class: "n" }, "roof"));
  place.append(heading, ...rows);
  rows.slice(OPEN).forEach((row) => (row.hidden = true));
  const more = make("button", { type: "button", class: "more" }, `${rows.length - OPEN} more kernels`);
  const open = () => {
    rows.forEach((row) => (row.hidden = false));
    more.remove();
  };
  more.addEventListener("click", open);
  if (rows.length > OPEN) place.append(more);
  const style = document.createElement("style");
  style.textContent = ".row[hidden]{display:none}";
  document.head.append(style);
  selection.watch((call) => {
    const name = call === null ? null : calls[call].row?.name;
    rows.forEach((row, i) => {
      row.classList.toggle("on", kernels[i].name === name);
      if (kernels[i].name === name && row.hidden) open();
    });
  });
}

function kernelRow(row, rank, longest) {
  // a workload that is a number says nothing to a person
  const kind = row.workload && row.workload.split(" ").length > 2 ? row.workload : row.schedule;
  const facts = [row.calls > 1 ? `${row.calls} calls` : "", row.candidate ? `${kind} → ${row.candidate}` : kind,
    row.operations ? text.flop(row.operations) : "", row.bytes !== null ? text.bytes(row.bytes) : "", row.handles[0] ?? ""].filter(Boolean);
  const called = callsOf.get(row.name) ?? [];
  const name = row.operators || row.name.replace(/^fused_/, "");
  const line = make("div", { class: `row ${row.limit}`, tabindex: 0, role: "button", "data-kernel": row.name,
    title: `${name}\n${row.name}\n${facts.join("\n")}` },
    make("span", { class: "rank" }, String(rank)), make("span", { class: "name" }, name),
    make("span", { class: "track" }, make("span", { class: "bar", style: `width:${(100 * row.seconds) / longest}%` },
      make("i", { style: `width:${100 * Math.min(row.reached ?? 0, 1)}%` }))),
    make("span", { class: "n" }, text.time(row.seconds)), make("span", { class: "n" }, text.part(row.share, 1)),
    make("span", { class: "n" }, row.reached === null ? "" : text.part(row.reached)), make("span", { class: "what" }, facts.join(" · ")));
  // a kernel that is called often: each click goes to its next call
  const pick = () => called.length && selection.pick(called[(called.indexOf(selection.call) + 1) % called.length], "kernels");
  line.addEventListener("click", pick);
  line.addEventListener("keydown", (event) => event.key === "Enter" && pick());
  return line;
}

const COLUMNS = [
  ["#", (c) => c.number, (c) => String(c.number)],
  ["operators", (c) => c.title, (c) => label(c), "left"],
  ["in the model", (c) => c.handle, (c) => tail(c.handle || c.kernel, 34), "left"],
  ["time", (c) => c.seconds, (c) => text.time(c.seconds)],
  ["weights", (c) => c.weights ?? 0, (c) => (c.weights ? text.bytes(c.weights) : "")],
  ["makes", (c) => c.activations ?? 0, (c) => text.bytes(c.activations ?? 0)],
  ["in memory", (c) => program.live[c.number], (c) => text.bytes(program.live[c.number])],
];
if (accuracy)
  COLUMNS.push(
    ["introduces", (c) => (c.error ? (c.error.introduced ?? Infinity) : -1), (c) => (c.error ? c.error.why
      || text.error(c.error.introduced) : ""), "", (c) => c.error && guilty(c.error)],
    ["carries", (c) => (c.error ? (c.error.carried ?? Infinity) : -1), (c) => (c.error ? text.error(c.error.carried) : "")],
  );

function showLayers(place) {
  const body = make("tbody");
  let by = 0, down = false;
  const rows = new Map(calls.map((call) => [call.number, make("tr", { "data-call": call.number },
    ...COLUMNS.map(([, , words, side, bad]) => make("td", { class: [side, bad?.(call) ? "bad" : ""].filter(Boolean).join(" "),
      title: words(call) }, words(call))))]));
  rows.forEach((row, number) => row.addEventListener("click", () => selection.pick(number, "layers")));
  const sort = () => {
    const key = COLUMNS[by][1];
    const order = [...calls].sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0));
    body.replaceChildren(...(down ? order.reverse() : order).map((call) => rows.get(call.number)));
  };
  const titles = COLUMNS.map(([name, , , side], i) => make("th", { class: side, "data-key": i, title: "sort", onclick: () => {
    down = by === i ? !down : i > 2;
    by = i;
    sort();
  } }, name));
  sort();
  place.append(make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ...titles)), body)));
  selection.watch((call, from) => {
    rows.forEach((row, number) => row.classList.toggle("on", number === call));
    if (call !== null && from !== "layers") {
      const scroll = place.querySelector(".scroll"), row = rows.get(call);
      scroll.scrollTop = row.offsetTop - scroll.clientHeight / 2;
    }
  });
}

/** The tensors at the peak, largest first. */
function showPeak(place) {
  const row = (t) => {
    const tensor = tensors[t];
    const line = make("tr", { "data-call": tensor.made },
      make("td", { class: "left", title: tensor.name }, tail(tensor.name, 60)), make("td", {}, text.shape(tensor)), make("td", {},
        text.bytes(tensor.bytes)),
      make("td", {}, text.part(tensor.bytes / Math.max(program.peak.bytes, 1))), make("td", {}, `${tensor.made} – ${tensor.last}`));
    line.addEventListener("click", () => calls[tensor.made] && selection.pick(tensor.made, "peak"));
    return line;
  };
  const titles = [["tensor", "left"], ["type and shape"], ["size"], ["of the peak"], ["calls"]];
  place.append(make("div", { class: "scroll" }, make("table", {},
    make("thead", {}, make("tr", {}, ...titles.map(([name, side]) => make("th", { class: side }, name)))), make("tbody", {},
      ...program.peak.tensors.map(row)))));
}
