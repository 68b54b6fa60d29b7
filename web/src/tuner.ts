/** The page of `oarlock web tune`: what the server asks for runs in workers, and a chart shows how far it is. */

import { features } from "./features.js";
import { resolution } from "./measure.js";
import { draw } from "./tuner-chart.js";
import type { Answer, FromServer, FromWorker, Hello, Job } from "./tuning.js";

const RETRY_MS = 1000;
const LOAD_MS = 30_000; // for a worker to fetch and compile what it runs, until it tells of the first kernel

const workers = new Map<string, Worker>();

function hello(): Hello {
  const have = features();
  const [browser, major] = engine();
  return {
    browser,
    major,
    device: device(),
    cores: navigator.hardwareConcurrency ?? 1,
    isolated: have.crossOriginIsolated,
    tick: resolution(),
    needs: [...(have.simd ? ["simd"] : []), ...(have.relaxedSimd ? ["relaxed-simd"] : []), ...(have.threads ? ["threads"] : [])],
  };
}

interface AgentData {
  brands: { brand: string; version: string }[];
  platform: string;
}

const agentData = (): AgentData | undefined => (navigator as { userAgentData?: AgentData }).userAgentData;

/** The browser by its engine: Edge runs kernels as Chrome does. */
function engine(): [string, number] {
  const brand = agentData()?.brands.find(({ brand }) => brand === "Chromium");
  if (brand) return ["Chromium", Number(brand.version)];
  const agent = navigator.userAgent;
  for (const [name, pattern] of [["Firefox", /Firefox\/(\d+)/], ["Chromium", /Chrom\w+\/(\d+)/], ["Safari", /Version\/(\d+).*Safari/]] as const) {
    const found = pattern.exec(agent);
    if (found) return [name, Number(found[1])];
  }
  return ["unknown", 0];
}

/** What a page may know of the machine: "Android SM-G991B", "Linux x86_64". */
function device(): string {
  const inside = /\(([^)]*)\)/.exec(navigator.userAgent)?.[1]?.split(/;\s*/) ?? [];
  return agentData()?.platform || inside.filter((part) => !/^(X11|U|K|wv|rv:.*)$/.test(part)).slice(0, 2).join(" ") || "unknown";
}

/** One job in its worker. */
function work(job: Job, answer: (answer: Answer, arrays?: ArrayBuffer[]) => void): void {
  let worker = workers.get(job.worker);
  if (!worker) {
    worker = new Worker("tuner-worker.js", { type: "module" });
    workers.set(job.worker, worker);
  }
  let kernel: number | undefined;
  const finish = (reply: Answer, arrays: ArrayBuffer[] = [], end = false): void => {
    clearTimeout(timer);
    worker.onmessage = worker.onerror = null;
    if (end) close(job.worker);
    answer(reply, arrays);
  };
  const failed = (what: string): Answer => ({ id: job.id, failed: what, ...(kernel === undefined ? {} : { kernel }) });
  const hung = (): void => finish(failed(`hung (over ${(job.limit / 1000).toFixed(0)} s)`), [], true);
  let timer = setTimeout(hung, LOAD_MS + job.limit);
  worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
    if (data.id !== job.id) return;
    if ("at" in data) {
      kernel = data.at < 0 ? undefined : data.at;
      clearTimeout(timer);
      timer = setTimeout(hung, job.limit);
    } else if ("failed" in data) finish(failed(data.failed), [], true); // a kernel that trapped may have left anything in memory
    else finish({ id: job.id, result: data.result, bytes: data.arrays?.length ?? 0 }, data.arrays);
  };
  worker.onerror = (event) => finish(failed(`the worker failed: ${event.message || "its script did not load"}`), [], true);
  worker.postMessage(job);
}

function close(name: string): void {
  workers.get(name)?.terminate();
  workers.delete(name);
}

function connect(): void {
  const address = new URL("socket", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  socket.onopen = () => {
    draw({ connected: true });
    socket.send(JSON.stringify(hello()));
  };
  socket.onmessage = ({ data }: MessageEvent<string>) => {
    const message = JSON.parse(data) as FromServer;
    if ("show" in message) draw({ state: message.show });
    else if ("refused" in message) draw({ refused: message.refused });
    else if ("close" in message) close(message.close);
    else
      work(message, (reply, arrays = []) => {
        if (socket.readyState !== WebSocket.OPEN) return;
        socket.send(JSON.stringify(reply));
        for (const array of arrays) socket.send(array);
      });
  };
  socket.onclose = () => {
    for (const name of [...workers.keys()]) close(name);
    draw({ connected: false });
    setTimeout(connect, RETRY_MS);
  };
}

connect();
