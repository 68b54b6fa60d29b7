/**
 * The engines that can take turns, behind one interface.  Each is a function of a job's entry (profiler/tab.py), the inputs
 * {name: {dtype, shape, data}} and the address that paths of the entry are relative to; it loads the model and gives
 *
 *     run()          one call as a user makes it: inputs in, outputs out; may be a promise
 *     outputs()      what the last call gave: [{name, dtype, shape, data}]
 *     steps(runs)    optional: [{…facts of the step, times: [ms of each run]}] in the order of execution
 *     close()        optional
 *     facts          optional: what it tells of itself
 */

/** Oarlock: a folder that `oarlock web build` wrote. */
async function oarlock(spec, inputs, base) {
  const { load } = await import(new URL("oarlock.js", new URL(spec.site, base)));
  const model = await load(new URL(spec.site, base), spec.variant ? { variant: spec.variant } : {});
  let last;
  return {
    facts: { variant: model.variant, report: model.report },
    run: async () => { last = await model.run(inputs); },
    outputs: () => Object.entries(last).map(([name, tensor]) => ({ name, ...tensor })),
    steps: (runs) => model.steps(inputs, runs),
    close: () => model.close?.(),
  };
}

/** onnxruntime-web: an ONNX file, on its WebAssembly backend or on another that `providers` names. */
async function onnxruntime(spec, inputs, base) {
  const dist = new URL(spec.dist, base);
  const ort = await import(new URL(spec.script ?? "ort.wasm.min.mjs", dist));
  ort.env.wasm.wasmPaths = dist.href;
  ort.env.wasm.numThreads = spec.threads ?? 1;
  const options = { executionProviders: spec.providers ?? ["wasm"], graphOptimizationLevel: "all", ...spec.options };
  const session = await ort.InferenceSession.create(new URL(spec.onnx, base).href, options);
  const feeds = {};
  Object.values(inputs).forEach(({ dtype, shape, data }, i) => { feeds[session.inputNames[i]] = new ort.Tensor(dtype, data, shape); });
  let last;
  return {
    facts: { version: ort.env.versions?.web, threads: ort.env.wasm.numThreads },
    run: async () => { last = await session.run(feeds); },
    outputs: () => session.outputNames.map((name) => ({ name, dtype: last[name].type, shape: [...last[name].dims], data: last[name].data })),
    close: () => session.release(),
  };
}

export const ENGINES = { oarlock, onnxruntime };
