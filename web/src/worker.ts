/** The model's side of `loadInWorker`: it loads and runs the model outside of the page's own thread. */

import { OarlockError } from "./errors.js";
import type { Reply, Request } from "./messages.js";
import { Model } from "./model.js";

let model: Model | undefined;

const say = (reply: Reply, move: Transferable[] = []): void => (globalThis as unknown as Worker).postMessage(reply, move);

async function answer(request: Request): Promise<void> {
  const { id } = request;
  if (request.what === "load") {
    model = await Model.load(request.source, {
      ...(request.variant === undefined ? {} : { variant: request.variant }),
      ...(request.key ? { key: request.key } : {}),
      progress: (loaded, total) => say({ id, progress: [loaded, total] }),
    });
    const { inputs, outputs, variant, report } = model;
    say({ id, facts: { inputs, outputs, variant, report } });
  } else if (request.what === "run") {
    const outputs = model!.run(request.inputs);
    say({ id, outputs }, Object.values(outputs).map((tensor) => tensor.data.buffer as ArrayBuffer));
  } else {
    say({ id, times: model!.profile(request.inputs, request.runs) });
  }
}

addEventListener("message", (event: MessageEvent<Request>) => {
  answer(event.data).catch((error: unknown) => {
    const known = error instanceof OarlockError ? error : new OarlockError(String(error));
    say({ id: event.data.id, error: { what: known.what, where: known.where, todo: known.todo } });
  });
});
