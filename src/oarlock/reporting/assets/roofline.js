/** What the machine can do, and every kernel beside it: operations a second over operations a byte, both logarithmic. */
function showRoofline(place) {
  const machine = data.machine;
  const plotted = kernels.map((row) => rowOf.get(row.name)).filter((row) => row.intensity && row.flops_per_s);
  if (!machine || !plotted.length) return false;
  const types = Object.keys(machine.flops).filter((type) => type === "float32" || plotted.some((row) => row.flops && type in row.flops));
  const top = Math.max(...types.map((type) => machine.flops[type]));
  const rates = machine.levels.map((level) => level.rate);
  const least = Math.min(...plotted.map((r) => r.intensity), 0.5) / 1.5;
  const most = Math.max(...plotted.map((r) => r.intensity), (4 * top) / Math.min(...rates)) * 1.5;
  const low = Math.max(Math.min(...plotted.map((r) => r.flops_per_s), top / 50) / 1.5, top * 1e-3);
  const high = 1.8 * Math.max(...plotted.map((r) => r.flops_per_s), top);
  const largest = Math.max(...plotted.map((r) => r.share));
  const dots = new Map();

  sized(place, (width) => {
    const height = Math.min(480, Math.max(330, width * 0.5));
    const box = { left: 52, right: width - 12, top: 14, bottom: height - 42 };
    const x = (v) => box.left + (Math.log(v / least) / Math.log(most / least)) * (box.right - box.left);
    const y = (v) => box.bottom - (Math.log(v / low) / Math.log(high / low)) * (box.bottom - box.top);
    const svg = draw("svg", { width, height, role: "img", "aria-label": "Roofline of the machine and the kernels of the model" });
    for (const v of decades(least, most)) {
      svg.append(draw("line", { class: "grid", x1: x(v), y1: box.top, x2: x(v), y2: box.bottom }),
        draw("text", { class: "axis", x: x(v), y: box.bottom + 16, "text-anchor": "middle" }, String(Number(v.toPrecision(1)))));
    }
    for (const v of decades(low, high)) {
      svg.append(draw("line", { class: "grid", x1: box.left, y1: y(v), x2: box.right, y2: y(v) }),
        draw("text", { class: "axis", x: box.left - 6, y: y(v) + 4, "text-anchor": "end" }, String(Number((v / 1e9).toPrecision(1)))));
    }
    svg.append(draw("text", { class: "axis", x: box.right, y: height - 6, "text-anchor": "end" }, "FLOP a byte →"),
      draw("text", { class: "axis", x: 4, y: height - 6 }, "GFLOP/s ↑"));
    for (const type of types) {
      const rate = machine.flops[type];
      svg.append(draw("line", { class: `roof${type === "float32" ? "" : " dashed"}`, x1: x(rate / Math.max(...rates)), y1: y(rate),
        x2: box.right, y2: y(rate) }));
    }
    const slopes = machine.levels.filter((level, i) => i === 0 || level.rate !== machine.levels[i - 1].rate);
    const slope = (level) => {
      const first = Math.max(least, low / level.rate);
      return [x(first), y(first * level.rate), x(top / level.rate), y(top)];
    };
    for (const level of slopes) {
      const [x1, y1, x2, y2] = slope(level);
      svg.append(draw("line", { class: "slope", x1, y1, x2, y2 }));
    }
    dots.clear();
    for (const row of [...plotted].sort((a, b) => b.share - a.share)) {
      const radius = Math.max(2.5, 17 * Math.sqrt(row.share / largest));
      const at = { cx: x(row.intensity), cy: y(Math.max(row.flops_per_s, low)), r: radius };
      const dot = draw("circle", { class: row.limit, ...at, "data-kernel": row.name });
      const number = callsOf.get(row.name)?.[0];
      dot.addEventListener("pointermove", (event) => hint(event,
        `${row.rank}. ${row.operators || row.name}\n${text.time(row.seconds)} (${text.part(row.share, 1)}), ` +
          `${text.part(row.reached)} of its roofline\n` +
          `${row.intensity.toFixed(1)} FLOP/B, ${text.rate(row.flops_per_s)}`));
      dot.addEventListener("pointerleave", (event) => hint(event, ""));
      if (number !== undefined) dot.addEventListener("click", () => selection.pick(number, "roofline"));
      dots.set(row.name, dot);
      svg.append(dot);
      if (radius >= 8) svg.append(draw("text", { class: "rank", x: at.cx, y: at.cy + 3.5 }, row.rank));
    }
    for (const type of types)
      svg.append(draw("text", { class: "halo", x: Math.max(box.left + 4, x(machine.flops[type] / Math.max(...rates)) - 60),
        y: y(machine.flops[type]) - 8 }, `${type} ${text.rate(machine.flops[type])}`));
    slopes.forEach((level, i) => {
      const [x1, y1, x2, y2] = slope(level);
      const part = 0.04 + 0.2 * i, angle = (Math.atan2(y2 - y1, x2 - x1) * 180) / Math.PI;
      const name = machine.levels.filter((other) => other.rate === level.rate).map((other) => other.name).join(", ");
      const place = `translate(${x1 + part * (x2 - x1)},${y1 + part * (y2 - y1) - 6}) rotate(${angle})`;
      svg.append(draw("text", { class: "halo", transform: place }, `${name} ${text.speed(level.rate)}`));
    });
    place.replaceChildren(svg);
    mark(selection.call);
  });
  const mark = (call) => {
    const name = call === null ? null : calls[call].row?.name;
    dots.forEach((dot, key) => dot.classList.toggle("on", key === name));
  };
  selection.watch(mark);
  const still = kernels.filter((row) => !row.intensity).reduce((sum, row) => sum + row.share, 0);
  return still ? `Kernels without arithmetic, or whose work is not known, are in the list alone (${text.part(still, 1)} of the time).` : "";
}

/** The powers of ten between two numbers. */
function decades(first, last) {
  const out = [];
  for (let e = Math.ceil(Math.log10(first) - 1e-9); e <= Math.log10(last) + 1e-9; e++) out.push(10 ** e);
  return out;
}
