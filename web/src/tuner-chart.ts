/** The chart of a tuning: how the whole goes down, and each kernel's best time beside what it took before. */

import type { Row, State } from "./tuning.js";

const SHOWN = 30;
const [WIDE, HIGH] = [900, 160];

const at = (id: string): HTMLElement => document.getElementById(id)!;

const text = (id: string, content: string): void => void (at(id).textContent = content);

function time(ms: number): string {
  return ms >= 1 ? `${ms.toFixed(2)} ms` : `${(ms * 1000).toFixed(0)} µs`;
}

export function draw(news: { state?: State; connected?: boolean; refused?: string }): void {
  if (news.connected !== undefined) {
    document.body.classList.toggle("away", !news.connected);
    text("link", news.connected ? "" : "The server is not there. This page connects again when it is back.");
  }
  if (news.refused !== undefined) text("link", news.refused);
  if (news.state) show(news.state);
}

function show(state: State): void {
  text("title", state.title);
  text("doing", state.end ?? state.doing);
  document.body.classList.toggle("done", state.end !== undefined);
  const left = Math.max(0, state.minutes - state.spent);
  const facts: [string, string][] = [
    ["trials", String(state.trials)],
    ["failed", String(state.failed)],
    ["minutes left", state.end === undefined ? left.toFixed(1) : "0"],
  ];
  const before = state.rows.reduce((sum, row) => sum + row.before, 0);
  const best = state.rows.reduce((sum, row) => sum + row.best, 0);
  if (before > 0) facts.push(["kernels before", time(before)], ["kernels now", time(best)], ["saved", `${(100 * (1 - best / before)).toFixed(0)} %`]);
  at("facts").replaceChildren(
    ...facts.map(([name, value]) => {
      const pair = document.createElement("div");
      pair.append(element("dt", name), element("dd", value));
      return pair;
    }),
  );
  const bar = at("progress") as HTMLProgressElement;
  bar.hidden = state.end !== undefined || state.total === 0;
  bar.max = Math.max(1, state.total);
  bar.value = state.done;
  curve(state.history);
  rows(state.rows);
  at("log").replaceChildren(...[...state.log].reverse().map((line) => element("li", line)));
}

/** What all tuned kernels take together, after each trial. */
function curve(history: number[]): void {
  const box = at("curve");
  box.parentElement!.hidden = history.length < 2;
  if (history.length < 2) return;
  const most = Math.max(...history);
  const x = (i: number): number => (WIDE * i) / (history.length - 1);
  const y = (ms: number): number => HIGH - (HIGH * ms) / (1.08 * most);
  const points = history.flatMap((ms, i) => [...(i ? [`${x(i).toFixed(1)},${y(history[i - 1]!).toFixed(1)}`] : []), `${x(i).toFixed(1)},${y(ms).toFixed(1)}`]);
  const last = history[history.length - 1]!;
  box.innerHTML =
    `<polygon class="area" points="0,${HIGH} ${points.join(" ")} ${WIDE},${HIGH}"/><polyline class="line" points="${points.join(" ")}"/>` +
    `<line class="base" x1="0" x2="${WIDE}" y1="${y(history[0]!).toFixed(1)}" y2="${y(history[0]!).toFixed(1)}"/>`;
  text("from", time(history[0]!));
  text("to", time(last));
}

function rows(all: Row[]): void {
  const sorted = [...all].sort((a, b) => b.before - a.before);
  const most = sorted[0]?.before ?? 1;
  text("more", sorted.length > SHOWN ? `… and ${sorted.length - SHOWN} smaller ones` : "");
  at("kernels").replaceChildren(
    ...sorted.slice(0, SHOWN).map((row) => {
      const line = document.createElement("tr");
      const won = row.best < row.before;
      line.innerHTML =
        `<td class="name"></td><td class="times"></td><td class="bar"><i class="before"></i><i class="best"></i></td><td class="won"></td><td class="tried"></td>`;
      const [name, times, bar, winner, tried] = line.children as unknown as HTMLElement[];
      name!.textContent = row.calls > 1 ? `${row.workload} ×${row.calls}` : row.workload;
      name!.title = row.workload;
      times!.textContent = won ? `${time(row.before)} → ${time(row.best)}` : time(row.before);
      (bar!.children[0] as HTMLElement).style.width = `${(100 * row.before) / most}%`;
      (bar!.children[1] as HTMLElement).style.width = `${(100 * row.best) / most}%`;
      winner!.textContent = won ? row.candidate : "";
      winner!.title = row.candidate;
      tried!.textContent = `${row.tried}/${row.offered}`;
      return line;
    }),
  );
}

function element(name: string, content: string): HTMLElement {
  return Object.assign(document.createElement(name), { textContent: content });
}
