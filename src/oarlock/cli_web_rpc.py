"""The command ``oarlock web rpc``."""

from __future__ import annotations

import click

from .cli_common import err, escape, out


@click.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where to listen; 0.0.0.0 is open to your network, without a password."
)
@click.option("--port", default=9090, show_default=True, type=click.IntRange(0, 65535), help="Of clients; 0 takes a free one.")
@click.option("--web-port", default=0, type=click.IntRange(0, 65535), help="Of the page.  [default: any that is free]")
@click.option("--tracker", default="", metavar="HOST:PORT", help="A tracker of TVM, which gives the page to clients.")
@click.option("--key", default="wasm", show_default=True, help="What clients ask for.")
@click.option(
    "--browser",
    type=click.Choice(["auto", "none"]),
    default="auto",
    show_default=True,
    help="auto: a Chromium of this machine, without a window, where there is one; none: you open the page.",
)
def rpc(host: str, port: int, web_port: int, tracker: str, key: str, browser: str) -> None:
    """Serve a browser's page as a device of TVM's own RPC, for scripts of tvm.rpc and for MetaSchedule's RPCRunner."""
    from .targets.web.hosts import addresses, near
    from .targets.web.rpc import serve

    with serve(host=host, port=port, web_port=web_port, tracker=tracker, key=key, browser=browser) as served:
        if served.opened:
            err.print(f"a browser without a window has the page ({escape(served.address())})")
        else:
            err.print("open this page in the browser that shall run kernels:")
            for name in addresses(host):
                err.print(f"    {escape(served.address(name))}")
        out.print("programs connect so (stop with Ctrl+C):", soft_wrap=True)
        session = 'session_constructor_args=["rpc.WasmSession", module])'
        if tracker:
            where, _, number = tracker.rpartition(":")
            first = f'remote = tvm.rpc.connect_tracker("{where}", {number}).request("{key}", {session}'
        else:
            first = f'remote = tvm.rpc.connect("{near(host)}", {served.port}, "{key}", {session}'
        for line in ("module = oarlock.targets.web.rpc.wasm(prim_func)", first):
            out.print(f"    {escape(line)}", soft_wrap=True, highlight=False)
        try:
            served.join()
        except KeyboardInterrupt:
            out.print("stopped")
