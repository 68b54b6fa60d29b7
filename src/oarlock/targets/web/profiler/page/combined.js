/**
 * A model whose plan runs on Oarlock's WebAssembly but for some segments, which other engines compute:
 *
 *     import * as ort from "onnxruntime-web/wasm";
 *     import { load } from "./site/oarlock.js";
 *     import { combined } from "./combined.js";
 *     const spec = await (await fetch("combined.json")).json();
 *     const engines = { load, "onnxruntime-web": { ort, options: {} }, "paddle.js": globalThis.paddlejs };
 *     const model = await combined(engines, new URL("site/", location), new URL("pieces/", location), spec);
 *     const outputs = await model.run({ x: new Float32Array(…) });
 *
 * `engines` needs those that `spec.engines` names, beside `load`: Oarlock's own WebGPU comes with the site; onnxruntime-web as
 * {ort, options of its sessions}; Paddle.js as its scripts leave it, which takes a page, not a worker.
 */

/** The array of each type of elements. */
export const MAKES = { float32: Float32Array, float64: Float64Array, int8: Int8Array, int16: Int16Array, int32: Int32Array, int64: BigInt64Array, uint8: Uint8Array, bool: Uint8Array };

/** [places, channels] → [channels, places]. */
export function toChannelsFirst(from, to, channels) {
  const places = from.length / channels;
  for (let p = 0, i = 0; p < places; p++) for (let c = 0, o = p; c < channels; c++, i++, o += places) to[o] = from[i];
}

/** [channels, places] → [places, channels]. */
export function toChannelsLast(from, to, channels) {
  const places = from.length / channels;
  for (let p = 0, o = 0; p < places; p++) for (let c = 0, i = p; c < channels; c++, o++, i += places) to[o] = from[i];
}

const runners = { made: 0 };

/** Paddle.js with a model of one picture: `run(data)` gives its outputs, one after another. */
export async function paddlejsRunner({ core: { Runner }, webglBackend: { glInstance } }, folder) {
  // each runner would begin with a canvas of its own, and leave those before it with programs of another one
  if (glInstance.gl) glInstance.init = async () => {};
  const path = new URL("model.json", folder).href;
  const model = await (await fetch(path)).json();
  const { feedShape } = model;
  const complaints = [];
  const { error } = console; // what goes wrong is said there, and nowhere else
  console.error = (...what) => { complaints.push(what.map(String).join(" ")); error.apply(console, what); };
  const plain = { keepRatio: false, mean: [0, 0, 0], std: [1, 1, 1], needPreheat: false };
  // the textures of runners with one name are one
  const runner = new Runner({ modelPath: path, modelName: `oarlock${runners.made++}`, feedShape, ...plain });
  const shape = [1, feedShape.fc, feedShape.fh, feedShape.fw];
  const run = (data) => runner.predictWithFeed([{ data, shape, name: "image", persistable: true }]);
  try {
    await runner.init();
    // what shaders get wrong shows in the first call, which is slow, too
    if (!complaints.length) await run(new Float32Array(shape.reduce((a, b) => a * b, 1)));
    if (complaints.length) throw new Error(complaints[0]);
  } finally {
    console.error = error;
  }
  return { run, model };
}

/**
 * How a segment of each engine is made: (segment, what is there) → a function of the tensors that it takes, in its own layout, that
 * promises those that it gives.
 */
const MAKERS = {
  async webgpu({ steps, inputs, outputs }, { gpu }) {
    const place = ({ at: [region, offset], dtype, shape, name }) => ({ name, region, offset, dtype, shape });
    return (await gpu()).engine.part(steps, inputs.map(place), outputs.map(place));
  },
  async onnxruntime({ engine, file, inputs, outputs }, { engines, pieces, ending }) {
    const { ort, options } = engines[engine];
    const session = await ort.InferenceSession.create(new URL(file, pieces).href, options);
    ending.push(() => session.release());
    return async (data) => {
      const feeds = Object.fromEntries(inputs.map(({ name, dtype, shape }, i) => [name, new ort.Tensor(dtype, data[i], shape)]));
      const found = await session.run(feeds);
      return outputs.map(({ name }) => found[name].data);
    };
  },
  async paddlejs({ engine, folder, outputs }, { engines, pieces }) {
    const { run } = await paddlejsRunner(engines[engine], new URL(folder, pieces));
    return async ([picture]) => {
      const all = Float32Array.from(await run(picture));
      let start = 0;
      return outputs.map(({ shape }) => all.subarray(start, (start += shape.reduce((a, b) => a * b, 1))));
    };
  },
};

/** `spec`: {variant, engines, segments: [{steps: [from, to]} | {kind, engine, inputs, outputs, …}]}; see profiler/combine.py. */
export async function combined(engines, site, pieces, spec) {
  const model = await engines.load(site, spec.variant ? { variant: spec.variant } : {});
  const { engine } = model;
  const ending = [() => model.close()];
  let onGpu;
  const gpu = () => {
    onGpu ??= engines.load(site, { variant: "webgpu" }).then((made) => (ending.push(() => made.close()), made));
    return onGpu;
  };
  const segments = [];
  for (const segment of spec.segments) {
    segments.push(segment.kind ? { ...segment, call: await MAKERS[segment.kind](segment, { engines, pieces, gpu, ending }) } : segment);
  }
  const view = ({ region, offset, dtype, shape }) => {
    const count = shape.reduce((a, b) => a * b, 1);
    const bytes = engine.at(region, offset, count * MAKES[dtype].BYTES_PER_ELEMENT);
    return new MAKES[dtype](bytes.buffer, bytes.byteOffset, count);
  };
  const taken = (place) => {
    const ours = view(place);
    const data = ours.slice();
    if (place.layout === "channels last") toChannelsFirst(ours, data, place.channels);
    if (place.layout === "channels first") toChannelsLast(ours, data, place.channels);
    return data;
  };
  const given = (place, data) => {
    if (place.layout === "channels last") toChannelsLast(data, view(place), place.channels);
    else if (place.layout === "channels first") toChannelsFirst(data, view(place), place.channels);
    else view(place).set(data);
  };
  return {
    inputs: model.inputs,
    outputs: model.outputs,
    async run(inputs) {
      model.inputs.forEach((info, i) => engine.input(i).set(inputs[info.name].data ?? inputs[info.name]));
      for (const segment of segments) {
        if (segment.call) {
          const found = await segment.call(segment.inputs.map(taken));
          segment.outputs.forEach((place, i) => given(place, found[i]));
        } else for (let i = segment.steps[0]; i < segment.steps[1]; i++) engine.call(i);
      }
      return Object.fromEntries(
        model.outputs.map((info, i) => [info.name, { dtype: info.dtype, shape: [...info.shape], data: engine.output(i).slice() }]),
      );
    },
    async close() {
      for (const end of ending.reverse()) await end();
    },
  };
}
