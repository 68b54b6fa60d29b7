/** The page's side of a model in a worker. */

import type { KernelTime } from "./engine.js";
import { OarlockError } from "./errors.js";
import { locate } from "./loader.js";
import { keyToSend } from "./protect.js";
import type { Facts, Reply, Request } from "./messages.js";
import type { Input, LoadOptions } from "./model.js";
import type { Tensor, TensorInfo } from "./types.js";

type Question = Request extends infer R ? (R extends Request ? Omit<R, "id"> : never) : never;
type Waiting = { done: (reply: Reply) => void; failed: (error: Error) => void; options: LoadOptions };

/** A model whose runs leave the page responsive. */
export class RemoteModel {
  inputs: TensorInfo[] = [];
  outputs: TensorInfo[] = [];
  variant = "";
  threads = 1;
  report: string[] = [];
  private readonly waiting = new Map<number, Waiting>();
  private next = 0;
  private ended: Error | undefined;

  private constructor(private readonly worker: Worker) {
    worker.onmessage = (event: MessageEvent<Reply>) => this.hear(event.data);
    worker.onmessageerror = () => this.end(new OarlockError("an answer of the worker cannot be read"));
    worker.onerror = (event) => this.end(new OarlockError(`the worker failed: ${event.message || "its script did not load"}`));
  }

  static async load(source: string | URL, script: string | URL, options: LoadOptions = {}): Promise<RemoteModel> {
    if (typeof Worker === "undefined") throw new OarlockError("there are no workers to load a model in", String(source), "load it in this thread: load(url)");
    const model = new RemoteModel(new Worker(script, { type: "module" }));
    try {
      const { href } = await locate(source);
      const { variant, threads } = options;
      const key = await keyToSend(href, options.key);
      const wanted = Object.fromEntries(Object.entries({ variant, threads, key }).filter(([, value]) => value !== undefined));
      const question: Question = { what: "load", source: href, ...wanted };
      const { facts } = (await model.ask(question, options)) as { facts: Facts };
      Object.assign(model, facts);
      return model;
    } catch (error) {
      model.close();
      throw error;
    }
  }

  async run(inputs: Record<string, Input>): Promise<Record<string, Tensor>> {
    return ((await this.ask({ what: "run", inputs })) as { outputs: Record<string, Tensor> }).outputs;
  }

  async profile(inputs: Record<string, Input>, runs = 10): Promise<KernelTime[]> {
    return ((await this.ask({ what: "profile", inputs, runs })) as { times: KernelTime[] }).times;
  }

  /** Ends the worker; what was not answered fails. */
  close(): void {
    this.end(new OarlockError("the model was closed"));
  }

  private ask(question: Question, options: LoadOptions = {}): Promise<Reply> {
    if (this.ended) return Promise.reject(this.ended);
    const id = this.next++;
    return new Promise((done, failed) => {
      this.worker.postMessage({ ...question, id }); // throws for what cannot be sent
      this.waiting.set(id, { done, failed, options });
    });
  }

  private hear(reply: Reply): void {
    const asked = this.waiting.get(reply.id);
    if (!asked) return;
    if ("progress" in reply) return asked.options.progress?.(...reply.progress);
    if ("compiling" in reply) return asked.options.compiling?.(...reply.compiling);
    this.waiting.delete(reply.id);
    if ("error" in reply) asked.failed(new OarlockError(reply.error.what, reply.error.where, reply.error.todo));
    else asked.done(reply);
  }

  private end(error: Error): void {
    this.ended ??= error;
    this.worker.terminate();
    for (const { failed } of this.waiting.values()) failed(error);
    this.waiting.clear();
  }
}
