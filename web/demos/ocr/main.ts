/** The page: pictures in; boxes, text and times out. */

import type { Quad } from "../common/geometry.js";
import { at, make, milliseconds, onPicture, showError, shown, svg } from "../common/page.js";
import { pixelsOfFile } from "../common/picture.js";
import { type Line, Reader, type Stage, type Times } from "./reader.js";

const STAGES: [Stage, string][] = [
  ["detection", "finding lines"], ["direction", "upright or not"], ["recognition", "reading lines"], ["before and after", "cutting and scaling"],
  ["fetching", "fetching a network"],
];

const loading = Reader.load(new URL("models.json", location.href), (loaded, total) => {
  at<HTMLProgressElement>("progress").value = loaded / total;
  at("state").textContent = `Fetching the networks: ${(loaded / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB`;
});

let turn = 0; // the last picture wins

async function read(file: Blob): Promise<void> {
  const mine = ++turn;
  const newer = (): boolean => mine !== turn;
  showError();
  try {
    const picture = await pixelsOfFile(file);
    if (newer()) return;
    const over = shown(picture, at("stage"));
    at("lines").replaceChildren();
    at("times").hidden = true;
    at<HTMLButtonElement>("copy").disabled = true;
    const reader = await loading;
    if (newer()) return;
    at("state").textContent = "Finding lines …";
    let count = 0;
    const { lines, times } = await reader.read(picture, {
      boxes: (boxes) => {
        if (newer()) return;
        count = boxes.length;
        boxes.forEach((box, number) => draw(over, box, number));
        at("lines").replaceChildren(...boxes.map((_, number) => row(number)));
      },
      line: (line, number) => {
        if (newer()) return;
        fill(line, number);
        at("state").textContent = `Reading: ${number + 1} of ${count} lines`;
      },
    });
    if (newer()) return;
    finish(lines, times);
  } catch (error) {
    if (newer()) return;
    at("state").textContent = "";
    showError(error);
  }
}

function draw(over: SVGSVGElement, box: Quad, number: number): void {
  const shape = svg("polygon", { points: box.map((p) => p.join()).join(" "), "data-line": number });
  over.append(shape);
  linked(shape, number);
}

function row(number: number): HTMLElement {
  const item = make("li", "", "waiting");
  item.dataset["line"] = String(number);
  item.append(make("span", "…", "what"), make("span", "", "sure"));
  linked(item, number);
  return item;
}

function fill(line: Line, number: number): void {
  const item = at("lines").children[number]!;
  item.className = line.text ? "" : "nothing";
  item.children[0]!.textContent = line.text || "nothing that can be read";
  item.children[1]!.textContent = line.text ? `${Math.round(100 * line.confidence)} %` : "";
}

/** A line and its box light up together. */
function linked(element: Element, number: number): void {
  const light = (on: boolean) => () => {
    for (const other of document.querySelectorAll(`[data-line="${number}"]`)) other.classList.toggle("lit", on);
  };
  element.addEventListener("pointerenter", light(true));
  element.addEventListener("pointerleave", light(false));
}

function finish(lines: Line[], times: Times): void {
  const total = Object.values(times).reduce((a, b) => a + b, 0);
  at("state").textContent = lines.length
    ? `${lines.length} ${lines.length === 1 ? "line" : "lines"} in ${milliseconds(total)}`
    : `No text was found, in ${milliseconds(total)}: try a sharper picture, or a part of this one`;
  at<HTMLButtonElement>("copy").disabled = lines.length === 0;
  at("copy").onclick = async () => {
    try {
      await navigator.clipboard.writeText(lines.map((line) => line.text).join("\n"));
      at("copy").textContent = "Copied";
      setTimeout(() => (at("copy").textContent = "Copy"), 1500);
    } catch (error) {
      showError(`the text cannot be copied: ${(error as Error).message}`);
    }
  };
  at("times").hidden = false;
  at("bar").replaceChildren();
  at("legend").replaceChildren();
  STAGES.forEach(([stage, words], i) => {
    if (times[stage] < 1) return;
    const part = make("i", "", `stage-${i}`);
    part.style.flexGrow = String(times[stage]);
    at("bar").append(part);
    const item = make("li");
    item.append(make("i", "", `stage-${i}`), make("span", words), make("b", milliseconds(times[stage])));
    at("legend").append(item);
  });
  document.body.dataset["done"] = String(turn); // for tests
}

onPicture(at("file"), (file) => void read(file));
at("demo").onclick = async () => {
  const response = await fetch("page.png").catch(() => undefined);
  if (response?.ok) await read(await response.blob());
  else showError("the demo page cannot be fetched: `make web-demo` writes it");
};

loading.then(async (reader) => {
  const { variant, report } = await reader.facts();
  at("progress").remove();
  if (turn === 0) at("state").textContent = "Ready.";
  at("facts").replaceChildren(make("p", `Kernels: ${variant}. ${report.join(". ")}`));
}).catch((error: unknown) => {
  at("progress").remove();
  at("state").textContent = "";
  showError(error);
});
