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

/** Scripts of before modules existed, one after another. */
async function scripts(urls) {
  for (const url of urls) {
    await new Promise((done, failed) => {
      const element = Object.assign(document.createElement("script"), { src: url.href, onload: done });
      element.onerror = () => failed(new Error(`${url.pathname} cannot be loaded`));
      document.head.append(element);
    });
  }
}

/** Paddle.js on WebGL, with a model that profiler/paddlejs.py wrote; it needs a document, so it runs in the page's thread. */
async function paddlejs(spec, inputs, base) {
  if (!globalThis.paddlejs?.webglBackend) await scripts([new URL(spec.core, base), new URL(spec.webgl, base)]);
  const { core: { Runner, env }, webglBackend } = globalThis.paddlejs;
  const [{ shape, data }] = Object.values(inputs);
  const [, fc, fh, fw] = shape;
  const complaints = [];
  const { error } = console; // what goes wrong is said there, and nowhere else
  console.error = (...what) => { complaints.push(what.map(String).join(" ")); error.apply(console, what); };
  let runner;
  try {
    const path = new URL("model.json", new URL(spec.model, base)).href;
    runner = new Runner({ modelPath: path, feedShape: { fc, fh, fw }, keepRatio: false, mean: [0, 0, 0], std: [1, 1, 1], needPreheat: false });
    await runner.init();
    if (complaints.length) throw new Error(complaints[0]);
  } finally {
    console.error = error;
  }
  const { glInstance } = webglBackend;
  const { gl } = glInstance;
  const model = await (await fetch(new URL("model.json", new URL(spec.model, base)))).json();
  const sources = new Map(model.ops.map((op) => [Object.values(op.outputs)[0][0], op.sources ?? []]));
  const feed = [{ data, shape, name: "image", persistable: true }];
  let last;
  const run = async () => { last = await runner.predictWithFeed(feed); };
  const pixel = new Float32Array(4);
  const steps = async (runs) => {
    const found = [];
    const whole = glInstance.runProgram.bind(glInstance);
    for (let i = 0; i < runs; i++) {
      let at = 0;
      glInstance.runProgram = (op, again) => { // nothing waits in the queue: no operation pays for another
        const start = performance.now();
        whole(op, again);
        gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.FLOAT, pixel); // this waits, gl.finish() does not
        const took = performance.now() - start;
        const output = op.outputTensors[0].tensorId.slice(op.modelName.length + 1);
        found[at] ??= { name: op.name, output, sources: sources.get(output) ?? [], times: [] };
        found[at++].times.push(took);
      };
      try {
        await run();
      } finally {
        delete glInstance.runProgram;
      }
    }
    return found;
  };
  const debug = gl.getExtension("WEBGL_debug_renderer_info");
  return {
    facts: { renderer: debug ? gl.getParameter(debug.UNMASKED_RENDERER_WEBGL) : "", webgl: env.get("webglVersion") },
    run,
    steps,
    outputs: () => {
      const all = Float32Array.from(last);
      let start = 0;
      return spec.outputs.map(({ name, shape: dims }) => {
        const size = dims.reduce((a, b) => a * b, 1);
        start += size;
        return { name, dtype: "float32", shape: dims, data: all.slice(start - size, start) };
      });
    },
  };
}

export const ENGINES = { oarlock, onnxruntime, paddlejs };
