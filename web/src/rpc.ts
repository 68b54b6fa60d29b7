/**
 * The page of `oarlock web rpc`: a server of TVM's RPC behind TVM's proxy, one session at a time.
 *
 * The socket is here and the session in a worker, which is ended with the session: so a kernel that never ends holds up nobody but the
 * client that waits for it, until that goes or its time is over.
 */

import { exception, Refused, Stream, timeoutOf } from "./rpc-protocol.js";

const AGAIN_MS = 50; // after a session
const RETRY_MS = 2000; // where there is no proxy, or it does not take this page
const PART_BYTES = 1 << 20; // of a message: proxies take 10 MB at most
const LINES = 30;

const key = new URLSearchParams(location.search).get("key") || "wasm";
const show = (id: string, text: string): void => void (document.getElementById(id)!.textContent = text);
let sessions = 0;

function log(text: string): void {
  const line = document.createElement("li");
  line.textContent = `${new Date().toLocaleTimeString()} ${text}`;
  const list = document.getElementById("log")!;
  list.prepend(line);
  while (list.childElementCount > LINES) list.lastElementChild!.remove();
}

function serve(): void {
  const address = new URL("ws", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  address.search = "";
  const socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  const stream = new Stream();
  const worker = new Worker("rpc-worker.js", { type: "module" });
  let began = 0;
  let calls = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let again = RETRY_MS;

  const send = (packet: Uint8Array<ArrayBuffer>): void => {
    if (socket.readyState !== WebSocket.OPEN) return;
    for (let at = 0; at < packet.length; at += PART_BYTES) socket.send(packet.subarray(at, at + PART_BYTES));
  };
  const end = (why: string): void => {
    if (began) log(why);
    worker.terminate();
    socket.close();
  };
  const begin = (peer: string): void => {
    began = performance.now();
    again = AGAIN_MS;
    sessions++;
    show("state", `Serving session ${sessions}`);
    const seconds = timeoutOf(peer);
    if (!seconds) return;
    timer = setTimeout(() => {
      // the beginning of this text tells TVM which error it is
      send(exception(`RPCSessionTimeoutError: Your ${seconds}s session has expired, try to increase the "session_timeout" value.`));
      end(`session ${sessions}: its ${seconds} s are over`);
    }, 1000 * seconds);
  };

  worker.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => {
    calls++;
    send(new Uint8Array(data));
  };
  worker.onerror = (event) => {
    send(exception(`the page's worker failed: ${event.message || "its script did not load"}`));
    end(`session ${sessions}: its worker failed`);
  };
  socket.onopen = () => {
    show("state", `Waiting for a client of the key ${key}`);
    socket.send(Stream.hello(key));
  };
  socket.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => {
    try {
      const packets = stream.add(new Uint8Array(data));
      if (!began && stream.peer !== undefined) begin(stream.peer);
      for (const packet of packets) worker.postMessage(packet.buffer, [packet.buffer]);
    } catch (error) {
      if (error instanceof Refused && !error.wait) again = AGAIN_MS;
      show("state", `Not served: ${(error as Error).message}`);
      end(`session ${sessions}: ${(error as Error).message}`);
    }
  };
  socket.onclose = () => {
    clearTimeout(timer);
    worker.terminate();
    if (began) log(`session ${sessions}: ${calls} requests in ${((performance.now() - began) / 1000).toFixed(1)} s`);
    else if (again === RETRY_MS && !stream.peer) show("state", "There is no proxy, or it does not take this page; trying again");
    setTimeout(serve, again);
  };
}

serve();
