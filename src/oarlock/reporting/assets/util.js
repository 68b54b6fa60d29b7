/** Numbers as text, elements, and the one selection that all parts of the page share. */
const data = JSON.parse(document.getElementById("report").textContent);
const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes, and children or text. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  return dress(element, attributes, children);
}
/** The same for SVG. */
function draw(name, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, name), attributes, children);
}
function dress(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

const scaled = (value, steps, digits = 3) => {
  const [size, unit] = steps.find(([size]) => Math.abs(value) >= size) ?? steps[steps.length - 1];
  const number = value / size;
  const places = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.max(Math.abs(number), 1))));
  return `${number.toFixed(Number.isInteger(number) ? 0 : places)} ${unit}`;
};
const text = {
  time: (s) => (s === null || s === undefined ? "–" : s === 0 ? "0 µs" : scaled(s, [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]])),
  bytes: (n) => (n === null || n === undefined ? "–" : scaled(n, [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "B"]])),
  flop: (n) => (n === null || n === undefined ? "–" : scaled(n, [[1e12, "TFLOP"], [1e9, "GFLOP"], [1e6, "MFLOP"], [1e3, "kFLOP"], [1,
    "FLOP"]])),
  rate: (n) => (n === null || n === undefined ? "–" : scaled(n, [[1e12, "TFLOP/s"], [1e9, "GFLOP/s"], [1e6, "MFLOP/s"], [1, "FLOP/s"]])),
  speed: (n) => (n === null || n === undefined ? "–" : scaled(n, [[1e9, "GB/s"], [1e6, "MB/s"], [1, "B/s"]])),
  part: (x, places = 0) => (x === null || x === undefined ? "–" : `${(100 * x).toFixed(places)}%`),
  error: (x) => (x === null || x === undefined ? "–" : x === 0 ? "0" : x.toExponential(1).replace("e-", "e−")),
  shape: (t) => `${t.dtype} [${t.shape.join(", ")}]`,
};
/** As much of some words as has room in `width` pixels; `end`: their end, which of a path tells more than its beginning. */
const pen = document.createElement("canvas").getContext("2d");
function fitted(words, width, font, end = false) {
  pen.font = `${font} system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif`;
  if (pen.measureText(words).width <= width) return words;
  let few = 0, many = words.length;
  const cut = (n) => (end ? `…${words.slice(words.length - n)}` : `${words.slice(0, n)}…`);
  while (many - few > 1) {
    const middle = (few + many) >> 1;
    if (pen.measureText(cut(middle)).width <= width) few = middle;
    else many = middle;
  }
  return cut(few);
}
/** The end of a name, which tells more than its beginning. */
const tail = (name, length) => (name.length <= length ? name : `…\u2060${name.slice(1 - length)}`);
const head = (name, length) => (name.length <= length ? name : `${name.slice(0, length - 1)}…`);

const LIMITS = {
  compute: "limited by arithmetic",
  memory: "limited by moving data",
  overhead: "so small that the call costs more",
  unknown: "work not known",
  host: "a call of Python or Paddle",
};

/** A legend: (class, words, kind of mark). */
const legend = (entries) =>
  make("div", { class: "legend" }, ...entries.map(([hue, words, mark]) => make("span", { class: hue }, make("i", { class: mark }), words)));

/** The selected call (or null), and who wants to know. */
const selection = {
  call: null,
  listeners: [],
  watch(listener) {
    this.listeners.push(listener);
  },
  pick(call, from = "") {
    this.call = call;
    document.body.classList.toggle("picked", call !== null);
    for (const listener of this.listeners) listener(call, from);
  },
};

const tip = make("div", { id: "tip", role: "tooltip" });
document.body.append(tip);
/** Words beside the pointer; "" hides them. */
function hint(event, words) {
  tip.style.opacity = words ? 1 : 0;
  if (!words) return;
  tip.textContent = words;
  const { innerWidth: width, innerHeight: height } = window;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.min(event.clientX + 14, width - box.width - 8)}px`;
  tip.style.top = `${event.clientY + 18 + box.height > height ? event.clientY - box.height - 10 : event.clientY + 18}px`;
}

/** Call `paint` with the width of an element, now and whenever it changes. */
function sized(element, paint) {
  let width = 0;
  new ResizeObserver(() => {
    const now = Math.floor(element.clientWidth);
    if (now && now !== width) paint((width = now));
  }).observe(element);
}
