"""The churny calls of TVM's RPC proxy, and kernels built for it; see compat.py.

``python -m oarlock.compat_rpc JOB`` runs a proxy until stdin ends, JOB being JSON of ``serve_proxy``'s arguments.  It prints
{"port", "web_port"} or {"error"}, then for every line that it reads how many pages are connected.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

WAIT_S = 600.0  # for a client that nobody serves, and for a page that nobody asks


def build_packed(mod: Any, target: Any) -> Any:
    """A module of a module's PrimFuncs, which take packed arguments, for ``target``."""
    import tvm
    from tvm.s_tir import transform

    from . import compat

    mod = transform.RemoveWeightLayoutRewriteBlock(skip_tensor_rewrite=True)(mod)  # what MetaSchedule leaves in its candidates
    # of a system library TVM calls the functions of its runtime by their names, of any other through pointers that a loader fills in
    return tvm.tirx.build(mod.with_attr("system_lib_prefix", ""), target=target, pipeline=compat.tir_pipeline())


def serve_proxy(
    host: str,
    port: int,
    web_port: int,
    tracker: Sequence[Any] | None,
    page: str,
    files: Sequence[Sequence[str]],
    headers: Mapping[str, str],
) -> None:
    """TVM's proxy with a page, on one address alone."""
    try:
        from tornado.httpserver import HTTPServer
        from tornado.netutil import bind_sockets
        from tornado.web import Application
        from tvm.rpc import proxy

        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(16)
        port = listening.getsockname()[1]
        sockets = bind_sockets(web_port, host, family)
    except ImportError as error:
        return _say({"error": f"there is no {error.name or 'tornado'}", "todo": "pip install 'oarlock[rpc]'"})
    except OSError as error:
        return _say({"error": f"the proxy cannot listen: {error.strerror}", "todo": "name another --host, --port or --web-port"})
    web_port = sockets[0].getsockname()[1]
    pages = 0

    class Socket(proxy.WebSocketHandler):
        def open(self, *_: Any, **__: Any) -> None:
            nonlocal pages
            pages += 1

        def on_close(self) -> None:
            nonlocal pages
            pages -= 1
            super().on_close()

    # TVM 0.27's proxy gives the web no host, so that it listens at all of the machine's addresses whatever its host is; and the page
    # no headers, without which its clock is coarse.
    def listen(application: Any, *_: Any, **__: Any) -> None:
        HTTPServer(application).add_sockets(sockets)

    Application.listen = listen
    proxy.RequestHandler.set_default_headers = lambda self: [self.set_header(name, value) for name, value in headers.items()]
    proxy.WebSocketHandler = Socket
    asyncio.set_event_loop(asyncio.new_event_loop())
    where = (str(tracker[0]), int(tracker[1])) if tracker else None
    handler = proxy.ProxyServerHandler(listening, port, web_port, WAIT_S, WAIT_S, where, page, [tuple(file) for file in files])

    def answer() -> None:
        for _ in sys.stdin:
            _say(pages)
        os._exit(0)

    threading.Thread(target=answer, daemon=True).start()
    _say({"port": port, "web_port": web_port})
    handler.run()


def _say(what: Any) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    serve_proxy(**json.loads(sys.argv[1]))
