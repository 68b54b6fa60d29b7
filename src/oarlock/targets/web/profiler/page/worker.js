/** A Host in a worker: each message names a call and what it is given. */

import { Host } from "./host.js";

const host = new Host();
let turn = Promise.resolve(); // one call after another

addEventListener("message", ({ data: { id, what, given } }) => {
  turn = turn.then(async () => {
    try {
      postMessage({ id, result: await host[what](...given) });
    } catch (error) {
      postMessage({ id, error: String(error?.message ?? error) });
    }
  });
});
