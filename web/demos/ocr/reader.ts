/** Reads a picture with PP-OCR: finds lines, reads them, and turns those that stand on their head. */

import { imageTensor, type Pixels, type Tensor } from "oarlock";
import { Family, type Member, type Told } from "../common/family.js";
import type { Point, Quad } from "../common/geometry.js";
import { cutOut, halved, resized, turnedOver } from "../common/picture.js";
import { boxesIn, rowsOf } from "./lines.js";
import { decoded, lineTensor, widthAt } from "./text.js";

/** models.json, which examples/web/build.py writes. */
export interface Models {
  detection: Member[];
  direction: Member[];
  recognition: Member[];
  characters: string;
}

export interface Line {
  box: Quad;
  text: string;
  confidence: number;
}

/** fetching: of a network of another size, the first time that it is needed. */
export type Stage = "detection" | "direction" | "recognition" | "before and after" | "fetching";
export type Times = Record<Stage, number>;

/** What is told while a picture is read: all boxes at once, then each line's text. */
export interface Telling {
  boxes?: (boxes: Quad[]) => void;
  line?: (line: Line, number: number) => void;
}

const MEAN = [0.485, 0.456, 0.406];
const STD = [0.229, 0.224, 0.225];
const LINE_HEIGHT = 48;
const DOUBT = 0.5; // whether a line stands on its head
const LONG_SIDE = 864; // of a picture as detection sees it, as in examples/ocr: much larger, and a line falls into pieces
const MEMORABLE = 1 << 22; // pixels of the largest canvas where a network takes any size

export class Reader {
  private constructor(
    private readonly detection: Family,
    private readonly direction: Family,
    private readonly recognition: Family,
    private readonly characters: string[],
  ) {}

  /** Fetches the networks that every picture needs. */
  static async load(address: URL, told: Told): Promise<Reader> {
    const models = (await json(address)) as Models;
    const family = (members: Member[]): Family => new Family(members, address);
    const characters = (await json(new URL(models.characters, address))) as string[];
    const reader = new Reader(family(models.detection), family(models.direction), family(models.recognition), characters);
    const done: [number, number][] = [];
    const open = (family: Family, member: Member, number: number): Promise<unknown> => {
      done[number] = [0, 0];
      return family.open(member, (loaded, total) => {
        done[number] = [loaded, total];
        told(done.reduce((sum, [bytes]) => sum + bytes, 0), done.reduce((sum, [, bytes]) => sum + bytes, 0));
      });
    };
    const [detection, direction, recognition] = [models.detection[0]!, models.direction[0]!, models.recognition[0]!];
    await Promise.all([open(reader.detection, detection, 0), open(reader.direction, direction, 1), open(reader.recognition, recognition, 2)]);
    return reader;
  }

  /** What the engine runs, and what is off, in sentences. */
  async facts(): Promise<{ variant: string; report: string[] }> {
    const { variant, report } = await this.detection.open(this.detection.members[0]!);
    return { variant, report };
  }

  /** The lines from top to bottom, and the milliseconds of each stage. */
  async read(picture: Pixels, told: Telling = {}): Promise<{ lines: Line[]; times: Times }> {
    const times: Times = { detection: 0, direction: 0, recognition: 0, "before and after": 0, fetching: 0 };
    const start = performance.now();
    const boxes = await this.find(picture, times);
    told.boxes?.(boxes);
    const lines: Line[] = [];
    for (const [number, box] of boxes.entries()) {
      const line = { box, ...(await this.line(cutOut(picture, box), times)) };
      lines.push(line);
      told.line?.(line, number);
    }
    times["before and after"] = performance.now() - start - Object.values(times).reduce((a, b) => a + b, 0);
    return { lines, times };
  }

  private async timed(stage: Stage, family: Family, member: Member, input: Tensor, times: Times): Promise<Tensor> {
    const { output, ms, fetching } = await family.run(member, input);
    times[stage] += ms;
    times.fetching += fetching;
    return output;
  }

  private async find(picture: Pixels, times: Times): Promise<Quad[]> {
    const scale = ([, , h, w]: (number | null)[]): number => Math.min((h ?? LONG_SIDE) / picture.height, (w ?? LONG_SIDE) / picture.width);
    const area = ([, , h, w]: (number | null)[]): number => (h && w ? h * w : MEMORABLE);
    // the least canvas of those on which the picture is (nearly) as large as on any
    const largest = Math.max(...this.detection.members.map(({ shape }) => scale(shape)));
    const member = this.detection.pick((shape) => (scale(shape) >= 0.95 * largest ? area(shape) : MEMORABLE * 2 - scale(shape)));
    const by = scale(member.shape);
    const [width, height] = [Math.max(1, Math.round(picture.width * by)), Math.max(1, Math.round(picture.height * by))];
    const canvas = [member.shape[2] ?? Math.ceil(height / 32) * 32, member.shape[3] ?? Math.ceil(width / 32) * 32] as const;
    const input = letterbox(resized(halved(picture, width, height), width, height), canvas[1], canvas[0]);
    const output = await this.timed("detection", this.detection, member, input, times);
    const inside = (value: number, most: number): number => Math.min(Math.max(value, 0), most);
    const back = ([x, y]: Point): Point => [inside(x * (picture.width / width), picture.width), inside(y * (picture.height / height), picture.height)];
    const boxes = boxesIn(output.data as Float32Array, canvas[1], canvas[0]).map((box) => box.map(back) as Quad);
    return rowsOf(boxes).flat();
  }

  private async line(line: Pixels, times: Times): Promise<{ text: string; confidence: number }> {
    const member = this.direction.members[0]!;
    const output = await this.timed("direction", this.direction, member, lineTensor(line, LINE_HEIGHT, member.shape[3] ?? 192), times);
    const upright = await this.recognise(line, times);
    if ((output.data as Float32Array)[1]! < DOUBT) return upright;
    // that network sees the beginning of a line, and small: where it would turn the line, what can be read decides
    const over = await this.recognise(turnedOver(line), times);
    return over.confidence > upright.confidence ? over : upright;
  }

  private async recognise(line: Pixels, times: Times): Promise<{ text: string; confidence: number }> {
    const need = widthAt(line, LINE_HEIGHT);
    // the narrowest that has room, else the widest: a longer line is squeezed
    const member = this.recognition.pick(([, , , width]) => (width === null || width === undefined ? 0 : width >= need ? width : 1e9 - width));
    const width = member.shape[3] ?? Math.min(3200, Math.max(320, need));
    const output = await this.timed("recognition", this.recognition, member, lineTensor(line, LINE_HEIGHT, width), times);
    return decoded(output, this.characters);
  }
}

/** A picture in the top left corner of a canvas, as the network sees it (blue first); the rest is the mean of all pictures. */
function letterbox(picture: Pixels, width: number, height: number): Tensor {
  const small = imageTensor(picture, { mean: MEAN, std: STD, order: "bgr" }).data;
  const out = new Float32Array(3 * width * height);
  for (let channel = 0; channel < 3; channel++) {
    for (let y = 0; y < picture.height; y++) {
      const from = (channel * picture.height + y) * picture.width;
      out.set(small.subarray(from, from + picture.width) as Float32Array, (channel * height + y) * width);
    }
  }
  return { dtype: "float32", shape: [1, 3, height, width], data: out };
}

async function json(address: URL): Promise<unknown> {
  const response = await fetch(address, { cache: "no-cache" }).catch((error: Error) => {
    throw new Error(`${address.pathname} cannot be fetched: ${error.message}`);
  });
  if (!response.ok) throw new Error(`${address.pathname}: the server answered ${response.status}; \`make web-demo\` builds the models`);
  return response.json();
}
