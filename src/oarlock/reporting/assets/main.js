/** The page: each section where there is something for it. */
const main = document.querySelector("main");
const column = make("div", {});
const details_ = make("aside", { "aria-live": "polite", "aria-label": "the picked kernel" });

const section = (id, title, ...parts) => {
  const made = make("section", { id: `s-${id}` }, make("div", { class: "title" }, make("h2", {}, title)), ...parts);
  column.append(made);
  return made;
};
const present = Object.keys(LIMITS).filter((limit) => calls.some((call) => call.limit === limit)
  || kernels.some((row) => row.limit === limit));
const limits = (mark) => legend(present.map((limit) => [limit, LIMITS[limit], mark]));

main.append(make("div", { class: "columns" }, column, details_));
showDetails(details_);

if (calls.length) {
  const panel = make("div", { id: "graph" });
  const search = make("input", { type: "search", placeholder: "search operators and layers", "aria-label": "search the graph" });
  const found = make("span", { class: "soft" });
  const mode = make("select", { "aria-label": "colour of nodes" }, ...Object.entries(COLOURS).map(([key, [words]]) => make("option",
    { value: key }, `colour: ${words}`)));
  const made = section("graph", "Graph", limits(), panel);
  made.querySelector(".title").append(found, make("span", { class: "push" }), search, mode);
  made.insertBefore(made.querySelector(".legend"), panel).style.marginBottom = "10px";
  const graph = showGraph(panel);
  mode.addEventListener("change", () => graph.colour(mode.value));
  let hits = [], next = 0;
  search.addEventListener("input", () => {
    hits = graph.find(search.value);
    next = 0;
    found.textContent = search.value.trim() ? `${hits.length} of ${calls.length} kernels` : "";
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && hits.length) selection.pick(hits[next++ % hits.length], "search");
  });
}
if (kernels.length) {
  const list = make("div");
  section("kernels", "Kernels by time", list);
  showKernels(list);
  const chart = make("div", { id: "roofline" });
  const roofline = section("roofline", "Roofline", limits("dot"), chart);
  const caption = showRoofline(chart);
  if (caption === false) roofline.remove();
  else roofline.append(make("p", { class: "soft" },
    `A dot is a kernel, its area the time that it takes; numbers are those of the list. ${caption}`));
}
if (calls.length) {
  const strips = make("div", { id: "strips" });
  const kinds = [["activation", "tensors that are read again"], ["output", "results"], ["weight", "weights"]];
  if (accuracy) kinds.push(["output", "error introduced", "dot"], ["bad", `more than the tolerance of ${accuracy.tolerance}`, "dot"],
    ["unknown", "carried", "ring"]);
  section("program", "Through the program", legend(kinds), make("div", { style: "height:10px" }), strips);
  showStrips(strips);
  if (program.peak.tensors.length) {
    const peak = make("div");
    section("peak", `In memory at the peak: ${text.bytes(program.peak.bytes)} during call ${program.peak.call}`, peak);
    showPeak(peak);
  }
  const layers = make("div");
  section("layers", "All calls in order", layers);
  showLayers(layers);
}
if (data.about.length) section("notes", "Notes", ...data.about.map((line) => make("p", { class: "soft" }, line)));
document.body.dataset.ready = String(calls.length);
