/** What runs outside of a page's own thread: the model's side of `loadInWorker`, or a thread of a model's pool, as the first message says. */

import { OarlockError } from "./errors.js";
import type { Reply, Request } from "./messages.js";
import type { GpuModel } from "./gpu-model.js";
import { Model } from "./model.js";
import { join, type Join } from "./threads.js";

/** The side of the thread that started this one. */
interface Port {
  postMessage(message: unknown, move?: Transferable[]): void;
  close(): void;
}

let model: Model | GpuModel | undefined;

async function answer(request: Request, say: (reply: Reply, move?: Transferable[]) => void): Promise<void> {
  const { id } = request;
  if (request.what === "load") {
    model = await Model.load(request.source, {
      ...(request.variant === undefined ? {} : { variant: request.variant }),
      ...(request.threads === undefined ? {} : { threads: request.threads }),
      worker: location.href,
      ...(request.key ? { key: request.key } : {}),
      progress: (loaded, total) => say({ id, progress: [loaded, total] }),
      compiling: (done, total) => say({ id, compiling: [done, total] }),
    });
    const { inputs, outputs, variant, threads, report } = model;
    say({ id, facts: { inputs, outputs, variant, threads, report } });
  } else if (request.what === "run") {
    const outputs = await model!.run(request.inputs);
    say({ id, outputs }, Object.values(outputs).map((tensor) => tensor.data.buffer as ArrayBuffer));
  } else {
    say({ id, times: await model!.profile(request.inputs, request.runs) });
  }
}

function hear(message: Request | Join, port: Port): void {
  if (message.what === "join") return void join(message, port);
  answer(message, (reply, move = []) => port.postMessage(reply, move)).catch((error: unknown) => {
    const known = error instanceof OarlockError ? error : new OarlockError(String(error), `${message.what}, in the worker`);
    port.postMessage({ id: message.id, error: { what: known.what, where: known.where, todo: known.todo } });
  });
}

if (typeof process !== "undefined" && process.versions?.node) {
  // Node's threads have no global messages
  void import("node:worker_threads").then(({ parentPort }) => parentPort?.on("message", (message) => hear(message, parentPort as unknown as Port)));
} else {
  const page = globalThis as unknown as DedicatedWorkerGlobalScope;
  page.addEventListener("message", (event: MessageEvent<Request | Join>) => hear(event.data, page));
}

type DedicatedWorkerGlobalScope = Port & { addEventListener(type: "message", hear: (event: MessageEvent<Request | Join>) => void): void };
