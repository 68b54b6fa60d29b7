/** What the parts of the page know of the model: calls, kernels (one may be called several times), tensors, errors. */
const program = data.program && data.program.calls ? data.program : { calls: [], tensors: [], storages: [], live: [], peak: { call: null,
  bytes: 0, tensors: [] } };
const calls = program.calls;
const tensors = program.tensors;
const kernels = data.kernels;

const rowOf = new Map(kernels.map((row, rank) => [row.name, { ...row, rank: rank + 1 }]));
calls.forEach((call, number) => {
  call.number = number;
  // calls of the host have a row by their own name
  call.row = rowOf.get(call.kernel) ?? kernels.find((row) => row.limit === "host"
    && call.kernel.endsWith(`.${row.name.replace(" (host call)", "")}`)) ?? null;
  call.limit = call.row ? call.row.limit : "unknown";
  call.handle = call.operations.length ? call.operations[call.operations.length - 1][1] : "";
  call.error = null;
});
const callsOf = new Map();
for (const call of calls) {
  const name = call.row ? call.row.name : call.kernel;
  if (!callsOf.has(name)) callsOf.set(name, []);
  callsOf.get(name).push(call.number);
}

const accuracy = data.accuracy ?? null;
if (accuracy) {
  const places = new Map(calls.filter((call) => call.function === "main").map((call) => [call.place, call]));
  for (const layer of accuracy.layers) if (places.has(layer.number)) places.get(layer.number).error = layer;
}
/** Whether a layer introduces more than the tolerance. */
const guilty = (layer) => layer.fed && (layer.why !== "" || layer.introduced === null || layer.introduced > accuracy.tolerance);

/** Who reads a tensor. */
const readers = tensors.map(() => []);
for (const call of calls) for (const t of call.reads) readers[t].push(call.number);

/** The first operator, and how many are with it. */
const brief = (call) => {
  const operators = call.title.split(" + ");
  return (operators.length > 2 ? `${operators[0]} +${operators.length - 1}` : call.title) + (call.times > 1 ? ` ×${call.times}` : "");
};
const label = (call) => call.title + (call.times > 1 ? ` ×${call.times}` : "");
function describe(call) {
  const lines = [label(call), call.handle, `${text.time(call.seconds)}${call.row && call.row.share ? `, ${LIMITS[call.limit]}` : ""}`];
  if (call.error) lines.push(`introduces ${text.error(call.error.introduced)}, carries ${text.error(call.error.carried)}`);
  return lines.filter(Boolean).join("\n");
}
