/** Two builds beside each other: what each takes, the outputs, kernels that compute the same, memory. */
const main = document.querySelector("main");
const rows = data.rows;
const wrap = make("div", { style: "margin-top:18px" });
main.append(wrap);
const section = (id, title, ...parts) => {
  const made = make("section", { id: `s-${id}` }, make("div", { class: "title" }, make("h2", {}, title)), ...parts);
  wrap.append(made);
  return made;
};
const table = (titles, lines) =>
  make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ...titles.map(([words, side]) => make("th",
    { class: side }, words)))), make("tbody", {}, ...lines)));
const sides = legend([["compute", `A: ${data.names[0]}`], ["memory", `B: ${data.names[1]}`]]);

section("sides", "What each takes", table([["", "left"], ["A"], ["B"], ["B / A"]],
  data.summary.map((line) => make("tr", {}, ...line.map((cell, i) => make("td", { class: i ? "" : "left" }, cell))))));
section("outputs", "Outputs of B beside A's", table([["output", "left"], ["shape"], ["largest difference"], ["root mean square"],
  ["same winner"], [""]],
  data.outputs.map((o) => make("tr", {}, make("td", { class: "left", title: o.name }, o.name), make("td", {},
    `${o.dtype} [${o.shape.join(", ")}]`), make("td", {}, text.error(o.max_rel)),
    make("td", {}, text.error(o.rms_rel)), make("td", {}, o.same_winner === null ? "" : text.part(o.same_winner, 1)), make("td",
      { class: o.ok ? "" : "bad" }, o.ok ? "within the tolerance" : o.why)))));

const seconds = (part) => (part ? part.seconds : 0);
const ORDERS = {
  change: ["largest change of time", (r) => -Math.abs(r.change_s)],
  time: ["time", (r) => -Math.max(seconds(r.a), seconds(r.b))],
  difference: ["difference of numbers", (r) => -(r.difference ?? (r.compared ? Infinity : -1))],
  order: ["order of the program", (r) => rows.indexOf(r)],
};
let picked = null;
const listeners = [];
const pick = (number) => {
  picked = number;
  for (const listener of listeners) listener(number);
};

function rowOf(row, number, longest) {
  const bar = (part, hue) => make("span", { class: `pair ${hue}` }, make("span", { class: "bar",
    style: `width:${(100 * seconds(part)) / longest}%` }, make("i", { style: "width:100%" })));
  const facts = [row.handle, row.a && row.b ? "" : row.a ? "in A alone" : "in B alone", ...["a", "b"].map((s) => row[s]
    && row[s].calls.length > 1 ? `${row[s].calls.length} calls in ${s.toUpperCase()}` : "")];
  const differs = row.why || (row.difference === null ? (row.compared ? "not finite" : "") : text.error(row.difference));
  const line = make("div", { class: "row two", "data-row": number, tabindex: 0, title: ["a",
    "b"].map((s) => `${s.toUpperCase()}: ${row[s] ? row[s].kernels.join(", ") : "–"}`).join("\n") },
    make("span", { class: "name" }, row.title), make("span", { class: "track" }, bar(row.a, "compute"), bar(row.b, "memory")),
    make("span", { class: "n" }, row.a ? text.time(row.a.seconds) : "–"), make("span", { class: "n" }, row.b ? text.time(row.b.seconds)
      : "–"),
    make("span", { class: "n" }, differs), make("span", { class: "what" }, facts.filter(Boolean).join(" · ")));
  line.addEventListener("click", () => pick(number));
  return line;
}

if (rows.length) {
  const longest = Math.max(...rows.flatMap((r) => [seconds(r.a), seconds(r.b)]), 1e-12);
  const lines = rows.map((row, i) => rowOf(row, i, longest));
  const list = make("div");
  const order = make("select", { "aria-label": "order" }, ...Object.entries(ORDERS).map(([key, [words]]) => make("option", { value: key },
    `by ${words}`)));
  const heading = make("div", { class: "row two head" }, make("span", {}, "operations"), make("span", { class: "track" }, ""),
    make("span", { class: "n" }, "A"), make("span", { class: "n" }, "B"), make("span", { class: "n" }, "differ by"));
  const sort = () => {
    const key = ORDERS[order.value][1];
    list.replaceChildren(...rows.map((row, i) => [key(row), i]).sort((x, y) => x[0] - y[0]).map(([, i]) => lines[i]));
  };
  order.addEventListener("change", sort);
  sort();
  const made = section("kernels", "Kernels that compute the same", sides, make("div", { style: "height:8px" }), heading, list);
  made.querySelector(".title").append(make("span", { class: "push" }), order);
  listeners.push((number) => lines.forEach((line, i) => line.classList.toggle("on", i === number)));
  const chart = make("div", { id: "strips" });
  section("program", "Through the program", sides.cloneNode(true), make("div", { style: "height:10px" }), chart);
  showStrips(chart);
}
if (data.about.length) section("notes", "Notes", ...data.about.map((line) => make("p", { class: "soft" }, line)));
document.body.dataset.ready = String(rows.length);

/** Time of each row on both sides, memory of both runs, and differences, under each other. */
function showStrips(place) {
  sized(place, (width) => {
    const narrow = width < 560, left = narrow ? 58 : 66, right = width - 8;
    const svg = draw("svg", { role: "img", "aria-label": "Time, memory and differences of both builds" });
    const x = (i) => left + ((right - left) * i) / rows.length;
    let y = 0;
    const strip = (title, height, paint) => {
      svg.append(draw("text", { class: "what", x: left, y: y + 14 }, title));
      paint(y + 24, y + 24 + height);
      y += height + 50;
    };
    const scale = (top, bottom, most, words) => {
      const at = (v) => bottom - ((bottom - top) * v) / most;
      for (const v of [0, most]) svg.append(draw("line", { class: "grid", x1: left, x2: right, y1: at(v), y2: at(v) }), draw("text",
        { class: "axis", x: left - 5, y: at(v) + 4, "text-anchor": "end" }, v ? words(v) : "0"));
      return at;
    };
    strip("Time of each row", narrow ? 70 : 110, (top, bottom) => {
      const at = scale(top, bottom, Math.max(...rows.flatMap((r) => [seconds(r.a), seconds(r.b)]), 1e-12), text.time);
      rows.forEach((row, i) => ["a", "b"].forEach((s, k) => {
        const wide = (x(i + 1) - x(i)) / 2, gap = Math.min(0.8, wide * 0.12);
        svg.append(draw("rect", { class: `fill ${k ? "memory" : "compute"}`, x: x(i) + k * wide + (k ? 0 : gap), width: Math.max(0.7,
          wide - gap), y: at(seconds(row[s])), height: Math.max(0.7, bottom - at(seconds(row[s]))) }));
      }));
    });
    const lives = [data.a.live, data.b.live];
    if (lives.every((l) => l.length)) strip("Memory in use, from the first call to the last" +
      (narrow ? "" : `: peaks ${text.bytes(data.a.peak)} and ${text.bytes(data.b.peak)}`), narrow ? 90 : 130, (top, bottom) => {
      const at = scale(top, bottom, Math.max(...lives.flat(), 1), text.bytes);
      lives.forEach((live, k) => {
        const px = (i) => left + ((right - left) * i) / live.length;
        const d = live.map((v,
          i) => `${i ? "L" : "M"}${px(i).toFixed(1)},${at(v).toFixed(1)}L${px(i + 1).toFixed(1)},${at(v).toFixed(1)}`).join("");
        svg.append(draw("path", { class: k ? "memory" : "compute", d,
          style: `fill:none;stroke:var(--hue);stroke-width:1.8;${k ? "stroke-dasharray:6 3" : ""}` }));
      });
    });
    const errors = rows.filter((r) => r.compared);
    if (errors.length) strip("Numbers differ by, of each result's scale", narrow ? 90 : 130, (top, bottom) => {
      const shown = errors.map((r) => r.difference).filter((v) => v);
      const low = Math.floor(Math.log10(Math.min(...shown, data.tolerance / 10))), high = Math.ceil(Math.log10(Math.max(...shown,
        data.tolerance) * 1.2));
      const at = (v) => bottom - ((bottom - top) * (Math.min(Math.max(v === null ? high : Math.log10(v || 1e-99), low),
        high) - low)) / (high - low);
      for (let e = low; e <= high; e += high - low > 7 ? 2 : 1) svg.append(draw("line", { class: "grid", x1: left, x2: right,
        y1: at(10 ** e), y2: at(10 ** e) }), draw("text", { class: "axis", x: left - 5, y: at(10 ** e) + 4, "text-anchor": "end" },
        `1e${e}`.replace("-", "−")));
      svg.append(draw("line", { class: "limit", x1: left, x2: right, y1: at(data.tolerance), y2: at(data.tolerance) }), draw("text",
        { class: "halo label", x: right - 4, y: at(data.tolerance) - 4, "text-anchor": "end", style: "fill:var(--bad)" },
        `tolerance ${data.tolerance}`));
      rows.forEach((row, i) => row.compared && svg.append(draw("circle",
        { class: `fill ${row.difference === null || row.difference > data.tolerance ? "bad" : "output"}`, cx: (x(i) + x(i + 1)) / 2,
        cy: at(row.difference), r: 3.2 })));
    });
    const height = y - 16;
    const cursor = draw("rect", { class: "cursor", y: 0, height, width: 0 });
    svg.append(cursor);
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    const number = (event) => Math.floor(((event.clientX - svg.getBoundingClientRect().left - left) / (right - left)) * rows.length);
    svg.addEventListener("pointermove", (event) => {
      const row = rows[number(event)];
      hint(event, row
        ? `${row.title}\n${row.handle}\nA ${row.a ? text.time(row.a.seconds) : "–"}, B ${row.b ? text.time(row.b.seconds) : "–"}` +
          `${row.compared ? `, numbers differ by ${text.error(row.difference)}` : ""}` : "");
    });
    svg.addEventListener("pointerleave", (event) => hint(event, ""));
    svg.addEventListener("click", (event) => rows[number(event)] && pick(number(event)));
    const mark = (i) => {
      cursor.setAttribute("x", i === null ? 0 : x(i));
      cursor.setAttribute("width", i === null ? 0 : Math.max(2, x(i + 1) - x(i)));
    };
    mark(picked);
    listeners[1] = mark;
    place.replaceChildren(svg);
  });
}
