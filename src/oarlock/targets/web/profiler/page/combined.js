/**
 * A model whose plan runs on Oarlock's kernels but for some segments, which onnxruntime-web computes:
 *
 *     import * as ort from "onnxruntime-web/wasm";
 *     import { load } from "./site/oarlock.js";
 *     import { combined } from "./combined.js";
 *     const spec = await (await fetch("combined.json")).json();
 *     const model = await combined(load, ort, {}, new URL("site/", location), new URL("pieces/", location), spec);
 *     const outputs = await model.run({ x: new Float32Array(…) });
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

/** `spec`: {variant, segments: [{steps: [from, to]} | {file, inputs: [place], outputs: [place]}]}; see profiler/combine.py. */
export async function combined(load, ort, options, site, pieces, spec) {
  const model = await load(site, spec.variant ? { variant: spec.variant } : {});
  const { engine } = model;
  const segments = [];
  for (const segment of spec.segments) {
    segments.push(segment.file ? { ...segment, session: await ort.InferenceSession.create(new URL(segment.file, pieces).href, options) } : segment);
  }
  const view = ({ region, offset, dtype, shape }) => {
    const count = shape.reduce((a, b) => a * b, 1);
    const bytes = engine.at(region, offset, count * MAKES[dtype].BYTES_PER_ELEMENT);
    return new MAKES[dtype](bytes.buffer, bytes.byteOffset, count);
  };
  const elsewhere = async ({ session, inputs, outputs }) => {
    const feeds = {};
    for (const place of inputs) {
      const ours = view(place);
      let data = ours.slice();
      if (place.layout === "channels last") toChannelsFirst(ours, data, place.shape[1]);
      feeds[place.name] = new ort.Tensor(place.dtype, data, place.shape);
    }
    const found = await session.run(feeds);
    for (const place of outputs) {
      const { data } = found[place.name];
      if (place.layout === "channels last") toChannelsLast(data, view(place), place.shape[1]);
      else view(place).set(data);
    }
  };
  return {
    inputs: model.inputs,
    outputs: model.outputs,
    async run(inputs) {
      model.inputs.forEach((info, i) => engine.input(i).set(inputs[info.name].data ?? inputs[info.name]));
      for (const segment of segments) {
        if (segment.session) await elsewhere(segment);
        else for (let i = segment.steps[0]; i < segment.steps[1]; i++) engine.call(i);
      }
      return Object.fromEntries(
        model.outputs.map((info, i) => [info.name, { dtype: info.dtype, shape: [...info.shape], data: engine.output(i).slice() }]),
      );
    },
    async close() {
      for (const { session } of segments) await session?.release();
      model.close();
    },
  };
}
