/**
 * The engines that can take turns, behind one interface.  Each is a function of a job's entry (profiler/tab.py), the inputs
 * {name: {dtype, shape, data}} and the address that paths of the entry are relative to; it loads the model and gives
 *
 *     run()          one call as a user makes it: inputs in, outputs out; may be a promise
 *     outputs()      what the last call gave: [{name, dtype, shape, data}]
 *     steps(runs)    optional: [{…facts of the step, times: [ms of each run]}] in the order of execution
 *     close()        optional
 *     trace()        optional: [{…facts of the step, results: [{dtype, shape, …summary}]}], what each step gives
 *     facts          optional: what it tells of itself; `gpu`: the name of the GPU that it computes on
 */

import { combined, MAKES, paddlejsRunner, toChannelsFirst } from "./combined.js";

/** Oarlock: a folder that `oarlock web build` wrote. */
async function oarlock(spec, inputs, base) {
  const { load } = await import(new URL("oarlock.js", new URL(spec.site, base)));
  const options = { ...(spec.variant ? { variant: spec.variant } : {}), ...(spec.threads > 1 ? { threads: spec.threads } : {}) };
  const model = await load(new URL(spec.site, base), options);
  let last;
  return {
    facts: { variant: model.variant, report: model.report, threads: model.threads ?? 1, layout_ms_per_mb: layoutCost() },
    run: async () => { last = await model.run(inputs); },
    outputs: () => Object.entries(last).map(([name, tensor]) => ({ name, ...tensor })),
    steps: (runs) => timeSteps(model, inputs, runs),
    trace: () => traceSteps(model, inputs),
    close: () => model.close?.(),
  };
}

/** The times of each call of a plan. */
function timeSteps(model, inputs, runs) {
  model.run(inputs);
  const { engine } = model;
  const found = engine.plan.steps.map(([kernel]) => ({ ...engine.plan.kernels[kernel], times: [] }));
  for (let run = 0; run < runs; run++) {
    for (let i = 0; i < found.length; i++) {
      const start = performance.now();
      engine.call(i);
      found[i].times.push(performance.now() - start);
    }
  }
  return found;
}

const mark = (i) => ((Math.imul(i + 1, 2654435761) >>> 0) / 2 ** 32 - 0.5);

/**
 * A tensor in a few numbers.  No layout changes the first four; `order` tells one layout from another, and `channels_last` is what
 * `order` would be if the last dim came first.
 */
export function summary(data, channels = 1) {
  let [sum, squares, most, order, channelsLast] = [0, 0, 0, 0, 0];
  const places = data.length / channels;
  for (let i = 0; i < data.length; i++) {
    const x = Number(data[i]);
    sum += x;
    squares += x * x;
    most = Math.max(most, Math.abs(x));
    order += x * mark(i);
    channelsLast += x * mark((i % channels) * places + Math.floor(i / channels));
  }
  return { count: data.length, sum, squares, most, order, channels_last: channelsLast };
}

/** What a kernel of a plan that was built to tell of it is called on. */
function argumentsOf(tensors, places) {
  if (!tensors) throw new Error("the plan does not tell of its tensors");
  return tensors.map(([dtype, shape], at) => ({ dtype, shape, region: places[2 * at], offset: places[2 * at + 1] }));
}

/** The results of each call of a plan that was built to tell of them. */
function traceSteps(model, inputs) {
  model.run(inputs);
  const { engine } = model;
  return engine.plan.steps.map(([kernel, places], i) => {
    engine.call(i);
    const { name, tensors, results } = engine.plan.kernels[kernel];
    const args = argumentsOf(tensors, places);
    return {
      name,
      args,
      results: results.map((at) => {
        const { dtype, shape, region, offset } = args[at];
        const count = shape.reduce((a, b) => a * b, 1);
        const bytes = engine.at(region, offset, count * MAKES[dtype].BYTES_PER_ELEMENT);
        return { dtype, shape, at, ...summary(new MAKES[dtype](bytes.buffer, bytes.byteOffset, count), shape.at(-1) ?? 1) };
      }),
    };
  });
}

/** Oarlock on the GPU: the variant webgpu of such a folder. */
async function webgpu(spec, inputs, base) {
  const { load, gpuFacts } = await import(new URL("oarlock.js", new URL(spec.site, base)));
  const { name } = await gpuFacts(); // of the adapter, which is looked for again once it has given its device
  const model = await load(new URL(spec.site, base), { variant: "webgpu" });
  const { engine } = model;
  const { plan } = engine;
  let last;
  const run = async () => { last = await model.run(inputs); };
  await run();
  const facts = { variant: model.variant, report: model.report, gpu: name, crossing: await gpuCrossing(engine), clock: (await engine.times(1)).clock };
  return {
    facts,
    run,
    outputs: () => Object.entries(last).map(([name, tensor]) => ({ name, ...tensor })),
    steps: async (runs) => {
      const { steps, idle } = await engine.times(runs);
      return plan.steps.map(({ kernel }, i) => {
        const { name, workload, schedule, candidate, launches } = plan.kernels[kernel];
        return { name, workload, schedule, candidate, times: steps[i].map((ms) => Math.max(0, ms - idle * launches.length)) };
      });
    },
    trace: async () => {
      await run();
      const found = [];
      for (const [i, { kernel, places }] of plan.steps.entries()) {
        const { name, tensors, results } = plan.kernels[kernel];
        const args = argumentsOf(tensors, places);
        const data = await engine.part([i], [], results.map((at) => ({ name, ...args[at] })))([]);
        found.push({
          name, args,
          results: results.map((at, n) => ({ dtype: args[at].dtype, shape: args[at].shape, at, ...summary(data[n], args[at].shape.at(-1) ?? 1) })),
        });
      }
      return found;
    },
    close: () => model.close(),
  };
}

/** What the way to the GPU and back costs: {call_ms, ms_per_mb}, by its smallest and its largest tensor, with nothing to do there. */
async function gpuCrossing(engine) {
  const { plan } = engine;
  const first = plan.buffers.length ? engine.regionOfBuffers : 1;
  const largest = plan.buffers.indexOf(Math.max(...plan.buffers));
  const floats = plan.buffers.length ? plan.buffers[largest] / 4 : 1;
  const took = async (count) => {
    const place = { name: "crossing", dtype: "float32", shape: [count], region: first + Math.max(largest, 0), offset: 0 };
    const call = engine.part([], [place], [place]);
    return quickly(() => call([new Float32Array(count)]));
  };
  const [small, large] = [await took(1), await took(floats)];
  return { call_ms: small, ms_per_mb: Math.max(0, large - small) / (2 * 4 * Math.max(floats - 1, 1) / 1e6) };
}

/** The first quarter of what 40 calls take, after some that do not count. */
async function quickly(call) {
  const times = [];
  for (let i = 0; i < 45; i++) {
    const start = performance.now();
    await call();
    if (i >= 5) times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[10];
}

/** The name of the browser's GPU, as WebGPU has it. */
async function gpuName() {
  const { vendor = "", architecture = "", description = "" } = (await navigator.gpu?.requestAdapter())?.info ?? {};
  return description || `${vendor} ${architecture}`.trim();
}

/** onnxruntime-web itself, and how its sessions are made. */
export async function ortOf(spec, base) {
  const dist = new URL(spec.dist, base);
  const ort = await import(new URL(spec.script ?? "ort.wasm.min.mjs", dist));
  ort.env.wasm.wasmPaths = dist.href;
  ort.env.wasm.numThreads = spec.threads ?? 1;
  return { ort, options: { executionProviders: spec.providers ?? ["wasm"], graphOptimizationLevel: "all", logSeverityLevel: 3, ...spec.options } };
}

/** onnxruntime-web: an ONNX file, on its WebAssembly backend or on another that `providers` names. */
async function onnxruntime(spec, inputs, base) {
  const { ort, options } = await ortOf(spec, base);
  const session = await ort.InferenceSession.create(new URL(spec.onnx, base).href, options);
  const feeds = {};
  Object.values(inputs).forEach(({ dtype, shape, data }, i) => { feeds[session.inputNames[i]] = new ort.Tensor(dtype, data, shape); });
  let last;
  return {
    facts: { version: ort.env.versions?.web, threads: ort.env.wasm.numThreads, ...(spec.providers?.includes("webgpu") ? { gpu: await gpuName() } : {}) },
    run: async () => { last = await session.run(feeds); },
    trace: () => session.outputNames.map((name) => {
      const { dims, type, data } = last[name];
      return { name, results: [{ dtype: type, shape: [...dims], ...summary(data, dims.at(-1) ?? 1) }] };
    }),
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

async function paddlejsOf(spec, base) {
  if (!globalThis.paddlejs?.webglBackend) await scripts([new URL(spec.core, base), new URL(spec.webgl, base)]);
  return globalThis.paddlejs;
}

/** Paddle.js on WebGL, with a model that profiler/paddlejs.py wrote; it needs a document, so it runs in the page's thread. */
async function paddlejs(spec, inputs, base) {
  const peer = await paddlejsOf(spec, base);
  const { core: { env }, webglBackend } = peer;
  const [{ data }] = Object.values(inputs);
  const { run: call, model } = await paddlejsRunner(peer, new URL(spec.model, base));
  const { glInstance } = webglBackend;
  const { gl } = glInstance;
  const sources = new Map(model.ops.map((op) => [Object.values(op.outputs)[0][0], op.sources ?? []]));
  let last;
  const run = async () => { last = await call(data); };
  const steps = async (runs) => {
    const found = [];
    for (let i = 0; i < runs; i++) {
      let at = 0;
      await clocked(glInstance, run, (op, took) => {
        const output = op.outputTensors[0].tensorId.slice(op.modelName.length + 1);
        found[at] ??= { name: op.name, output, sources: sources.get(output) ?? [], times: [] };
        found[at++].times.push(took);
      });
    }
    return found;
  };
  const debug = gl.getExtension("WEBGL_debug_renderer_info");
  const crossing = spec.identity && await paddlejsCrossing(spec.identity.map((folder) => new URL(folder, base)), glInstance);
  return {
    facts: { gpu: debug ? gl.getParameter(debug.UNMASKED_RENDERER_WEBGL) : "", webgl: env.get("webglVersion"), ...(crossing ? { crossing } : {}) },
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

/** Calls Paddle.js, and hears of each operation how many milliseconds it took, up to the first pixel of its result. */
async function clocked(glInstance, call, hear) {
  const { gl } = glInstance;
  const pixel = new Float32Array(4);
  const whole = glInstance.runProgram.bind(glInstance);
  glInstance.runProgram = (op, again) => { // nothing waits in the queue: no operation pays for another
    const start = performance.now();
    whole(op, again);
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.FLOAT, pixel); // this waits, gl.finish() does not
    hear(op, performance.now() - start);
  };
  try {
    return await call();
  } finally {
    delete glInstance.runProgram;
  }
}

/** What a call of Paddle.js costs beside its operations: {call_ms, ms_per_mb}, by models of one operation on a small and a large picture. */
async function paddlejsCrossing(folders, glInstance) {
  const found = [];
  for (const folder of folders) {
    const { run, model: { feedShape: { fc, fh, fw } } } = await paddlejsRunner(globalThis.paddlejs, folder);
    const data = new Float32Array(fc * fh * fw);
    const works = [];
    const took = await clocked(glInstance, () => quickly(() => run(data.slice())), (op, ms) => works.push(ms));
    found.push({ ms: Math.max(0, took - works.sort((a, b) => a - b)[Math.floor(works.length / 4)]), mb: (2 * 4 * data.length) / 1e6 });
  }
  const [small, large] = found;
  return { call_ms: small.ms, ms_per_mb: Math.max(0, large.ms - small.ms) / (large.mb - small.mb) };
}

/**
 * onnxruntime-web in pieces: sub-models one after another (profiler/onnx_pieces.py), each with a session of its own, so that each has a
 * time.  A piece copies what it takes and gives in and out of the engine's memory; `facts.crossing` tells what that costs.
 */
async function onnxPieces(spec, inputs, base) {
  const { ort, options } = await ortOf(spec, base);
  const folder = new URL(spec.folder, base);
  const sessions = [];
  for (const piece of spec.pieces) sessions.push(await ort.InferenceSession.create(new URL(piece.file, folder).href, options));
  const held = {};
  Object.values(inputs).forEach(({ dtype, shape, data }, i) => { held[spec.inputs[i]] = new ort.Tensor(dtype, data, shape); });
  const one = async (i) => {
    const { inputs: taken, outputs } = spec.pieces[i];
    const found = await sessions[i].run(Object.fromEntries(taken.map((name) => [name, held[name]])));
    for (const name of outputs) held[name] = found[name];
  };
  const run = async () => { for (let i = 0; i < sessions.length; i++) await one(i); };
  return {
    facts: { crossing: await crossing(ort, options, new URL("identity.onnx", folder)) },
    run,
    steps: async (runs) => {
      const found = spec.pieces.map((piece) => ({ ...piece, times: [] }));
      for (let n = 0; n < runs; n++) {
        for (let i = 0; i < sessions.length; i++) {
          const start = performance.now();
          await one(i);
          found[i].times.push(performance.now() - start);
        }
      }
      const bytes = (names) => names.reduce((sum, name) => sum + held[name].data.byteLength, 0);
      return found.map((piece) => ({ ...piece, bytes: bytes(piece.inputs) + bytes(piece.outputs) }));
    },
    outputs: () => spec.pieces.flatMap((piece) => piece.outputs).slice(-1).map((name) => ({ name, data: held[name].data, dtype: held[name].type, shape: [...held[name].dims] })),
    close: async () => { for (const session of sessions) await session.release(); },
  };
}

/** Oarlock's plan, some of whose steps other engines do in their place (profiler/combine.py). */
async function combinedEngine(spec, inputs, base) {
  const { load } = await import(new URL("oarlock.js", new URL(spec.site, base)));
  const engines = { load };
  for (const [name, entry] of Object.entries(spec.engines)) engines[name] = entry.dist ? await ortOf(entry, base) : await paddlejsOf(entry, base);
  const model = await combined(engines, new URL(spec.site, base), new URL(spec.folder, base), spec);
  let last;
  return {
    run: async () => { last = await model.run(inputs); },
    outputs: () => Object.entries(last).map(([name, tensor]) => ({ name, ...tensor })),
    close: () => model.close(),
  };
}

/** What a call of onnxruntime-web costs beside work: {call_ms, ms_per_mb}, from two sizes of a model that gives what it takes. */
async function crossing(ort, options, url) {
  const session = await ort.InferenceSession.create(url.href, options);
  const took = (n) => {
    const feeds = { x: new ort.Tensor("float32", new Float32Array(n), [n]) };
    return quickly(() => session.run(feeds));
  };
  const [small, large] = [await took(1), await took(1 << 18)];
  await session.release();
  return { call_ms: small, ms_per_mb: Math.max(0, large - small) / (2 * 4 * (1 << 18) / 1e6) };
}

/** Milliseconds a MB of a change of layout. */
function layoutCost() {
  const [channelsLast, channelsFirst] = [new Float32Array(1 << 18), new Float32Array(1 << 18)];
  const layouts = [];
  for (let i = 0; i < 20; i++) {
    const start = performance.now();
    toChannelsFirst(channelsLast, channelsFirst, 64);
    layouts.push((performance.now() - start) / (4 * (1 << 18) / 1e6));
  }
  return layouts.sort((a, b) => a - b)[5];
}

export const ENGINES = { oarlock, webgpu, onnxruntime, "onnx pieces": onnxPieces, paddlejs, combined: combinedEngine };
