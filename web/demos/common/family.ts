/** One network built for several sizes: each is fetched when it is first needed, and runs in a worker of its own. */

import { loadInWorker, type RemoteModel, type Tensor } from "oarlock";

/** A folder that `oarlock web build` wrote, and the shape of its input; null where the model takes any size. */
export interface Member {
  folder: string;
  shape: (number | null)[];
}

export type Told = (loaded: number, total: number) => void;

export class Family {
  private readonly opened = new Map<Member, Promise<RemoteModel>>();

  constructor(
    readonly members: Member[],
    private readonly base: URL,
  ) {}

  /** The member of least `cost`; the dims that it leaves open do not count. */
  pick(cost: (shape: (number | null)[]) => number): Member {
    return this.members.reduce((best, member) => (cost(member.shape) < cost(best.shape) ? member : best));
  }

  /** The member's model; what failed to load is tried again by the next call. */
  open(member: Member, told: Told = () => {}): Promise<RemoteModel> {
    let model = this.opened.get(member);
    if (!model) {
      model = loadInWorker(new URL(member.folder, this.base), { progress: told });
      this.opened.set(member, model);
      model.catch(() => this.opened.delete(member));
    }
    return model;
  }

  /** Its only input's value → its only output's; the milliseconds that it took, the way to the worker included, and those to have it here. */
  async run(member: Member, input: Tensor): Promise<{ output: Tensor; ms: number; fetching: number }> {
    const before = performance.now();
    const model = await this.open(member);
    const start = performance.now();
    const outputs = await model.run({ [model.inputs[0]!.name]: input });
    return { output: Object.values(outputs)[0]!, ms: performance.now() - start, fetching: start - before };
  }
}
