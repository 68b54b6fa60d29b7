/** The page: a picture or the camera in; faces, and how long they took, out. */

import { imageTensor, loadInWorker, type RemoteModel, type Tensor } from "oarlock";
import type { Member } from "../common/family.js";
import { at, make, milliseconds, onPicture, showError, shown, svg } from "../common/page.js";
import { pixelsOfFile } from "../common/picture.js";
import { type Face, facesIn } from "./faces.js";

/** models.json, which examples/web/build.py writes. */
interface Network extends Member {
  title: string;
  size: number;
}

const HALF = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] }; // pixels from −1 to 1
const opened = new Map<Network, Promise<RemoteModel>>();
let networks: Network[] = [];
let turn = 0; // the last picture, or the camera, wins
let again = (): void => {};

const chosen = (): Network => networks[Number(at<HTMLSelectElement>("network").value)]!;

/** The chosen network, fetched once. */
function model(): Promise<RemoteModel> {
  const network = chosen();
  let found = opened.get(network);
  if (!found) {
    found = loadInWorker(new URL(network.folder, location.href), {
      progress: (loaded, total) => (at<HTMLProgressElement>("progress").value = loaded / total),
    });
    opened.set(network, found);
    found.catch(() => opened.delete(network));
  }
  return found;
}

/** A square canvas that is drawn on again and again: the picture in its middle, as large as there is room for. */
const canvas = new OffscreenCanvas(1, 1);
const context = canvas.getContext("2d", { willReadFrequently: true })!;

function letterbox(source: CanvasImageSource, width: number, height: number, size: number): { input: Tensor; place: (face: Face) => Face } {
  if (canvas.width !== size) [canvas.width, canvas.height] = [size, size];
  const scale = size / Math.max(width, height);
  const [w, h] = [width * scale, height * scale];
  const [x, y] = [(size - w) / 2, (size - h) / 2];
  context.fillStyle = "black";
  context.fillRect(0, 0, size, size);
  context.imageSmoothingQuality = "high";
  context.drawImage(source, x, y, w, h);
  const across = (value: number): number => (value * size - x) / scale;
  const down = (value: number): number => (value * size - y) / scale;
  const place = (f: Face): Face => ({
    left: across(f.left), top: down(f.top), right: across(f.right), bottom: down(f.bottom), score: f.score, points: f.points.map(([u, v]) => [across(u), down(v)]),
  });
  return { input: imageTensor(context.getImageData(0, 0, size, size), HALF), place };
}

/** The faces in a picture, in its pixels, and the network's milliseconds. */
async function find(source: CanvasImageSource, width: number, height: number): Promise<{ faces: Face[]; ms: number }> {
  const net = await model();
  const { size } = chosen();
  const { input, place } = letterbox(source, width, height, size);
  const start = performance.now();
  const outputs = await net.run({ [net.inputs[0]!.name]: input });
  const ms = performance.now() - start;
  const [boxes, scores] = net.outputs.map((info) => outputs[info.name]!.data as Float32Array);
  return { faces: facesIn(boxes!, scores!, size).map(place), ms };
}

function draw(over: SVGSVGElement, faces: Face[], width: number): void {
  over.replaceChildren(...faces.flatMap((face) => [
    svg("rect", { x: face.left, y: face.top, width: face.right - face.left, height: face.bottom - face.top, rx: width / 100, "data-score": face.score }),
    ...face.points.map(([x, y]) => svg("circle", { cx: x, cy: y, r: width / 200 })),
  ]));
}

const count = (faces: Face[]): string => `${faces.length || "No"} ${faces.length === 1 ? "face" : "faces"}`;

async function picture(file: Blob): Promise<void> {
  const mine = ++turn;
  stopCamera();
  showError();
  try {
    const image = await pixelsOfFile(file);
    if (mine !== turn) return;
    const over = shown(image, at("stage"));
    at("state").textContent = "Looking …";
    const bitmap = await createImageBitmap(image);
    const look = async (): Promise<void> => {
      const { faces, ms } = await find(bitmap, image.width, image.height);
      if (mine !== turn) return;
      draw(over, faces, image.width);
      at("state").textContent = `${count(faces)}${faces.length ? `, ${faces.map((f) => `${Math.round(100 * f.score)} %`).join(", ")}` : ""}`;
      numbers([["network", milliseconds(ms)]]);
      document.body.dataset["done"] = String(mine); // for tests
    };
    again = () => void look().catch(showError);
    await look();
  } catch (error) {
    if (mine === turn) at("state").textContent = "";
    showError(error);
  }
}

let stream: MediaStream | undefined;

function stopCamera(): void {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = undefined;
  at("camera").setAttribute("aria-pressed", "false");
  at("camera").textContent = "Camera";
}

const REFUSED: Record<string, string> = {
  NotAllowedError: "the browser was told not to lend its camera: allow it for this page, beside the address",
  NotFoundError: "this device has no camera",
  NotReadableError: "another program uses the camera",
};

async function camera(): Promise<void> {
  const mine = ++turn;
  showError();
  if (!navigator.mediaDevices) return showError("this page gets no camera: browsers lend it to secure pages only (https, or localhost)");
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 640 } } });
  } catch (error) {
    return mine === turn ? showError(REFUSED[(error as Error).name] ?? error) : undefined;
  }
  at("camera").setAttribute("aria-pressed", "true");
  at("camera").textContent = "Stop the camera";
  const video = make("video");
  Object.assign(video, { muted: true, playsInline: true, srcObject: stream });
  const over = svg("svg", { "aria-hidden": "true" });
  at("stage").classList.remove("empty");
  at("stage").replaceChildren(video, over);
  again = () => {};
  try {
    await video.play();
    over.setAttribute("viewBox", `0 0 ${video.videoWidth} ${video.videoHeight}`);
    await frames(video, over, () => mine === turn && stream !== undefined);
  } catch (error) {
    if (mine !== turn) return;
    stopCamera();
    showError(error);
  }
}

/** Frame after frame, each as soon as the one before is done. */
async function frames(video: HTMLVideoElement, over: SVGSVGElement, on: () => boolean): Promise<void> {
  const ends: number[] = [];
  for (let frame = 0; on(); frame++) {
    const { faces, ms } = await find(video, video.videoWidth, video.videoHeight);
    if (!on()) return;
    draw(over, faces, video.videoWidth);
    ends.push(performance.now());
    if (ends.length > 30) ends.shift();
    if (frame % 10 === 0) at("state").textContent = count(faces);
    const rate = ends.length > 1 ? (1000 * (ends.length - 1)) / (ends.at(-1)! - ends[0]!) : 0;
    numbers([["frames per second", rate.toFixed(1)], ["network", milliseconds(ms)]]);
    document.body.dataset["frames"] = String(frame + 1); // for tests
    await new Promise(requestAnimationFrame);
  }
}

function numbers(rows: [string, string][]): void {
  at("numbers").hidden = false;
  at("numbers").replaceChildren(...rows.map(([name, value]) => {
    const item = make("p");
    item.append(make("b", value), make("span", name));
    return item;
  }));
}

onPicture(at("file"), (file) => void picture(file));
at("demo").onclick = async () => {
  const response = await fetch("astronaut.png").catch(() => undefined);
  if (response?.ok) await picture(await response.blob());
  else showError("the demo picture cannot be fetched: `make web-demo` writes it");
};
at("camera").onclick = () => {
  if (!stream) return void camera();
  turn++;
  stopCamera();
  at("state").textContent = "The camera is off.";
};
at("network").onchange = () => again();

try {
  const response = await fetch("models.json", { cache: "no-cache" });
  if (!response.ok) throw new Error(`models.json: the server answered ${response.status}; \`make web-demo\` builds the models`);
  networks = (await response.json()) as Network[];
  at("network").replaceChildren(...networks.map((network, i) => new Option(network.title, String(i))));
  const { variant, report } = await model();
  if (turn === 0) at("state").textContent = "Ready.";
  at("facts").replaceChildren(make("p", `Kernels: ${[variant, ...report].join(". ")}. Weights: BlazeFace of MediaPipe (Google, Apache-2.0).`));
} catch (error) {
  at("state").textContent = "";
  showError(error);
} finally {
  at("progress").hidden = true;
}
