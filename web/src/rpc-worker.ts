/** Runs a session of TVM's RPC, in a worker: a kernel may never end. */

import { Session } from "./rpc-session.js";

const scope = globalThis as unknown as Worker;
const session = new Session();
let last: Promise<void> = Promise.resolve();

/** Packets one after another, as they came. */
scope.addEventListener("message", ({ data }: MessageEvent<ArrayBuffer>) => {
  last = last.then(async () => {
    const answer = await session.answer(new Uint8Array(data));
    if (answer) scope.postMessage(answer.buffer, [answer.buffer]);
  });
});
