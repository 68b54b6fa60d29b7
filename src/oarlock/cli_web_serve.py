"""The command ``oarlock web serve``."""

from __future__ import annotations

from pathlib import Path

import click

from .cli_common import escape, out


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at; 0.0.0.0 is open to your network.")
def serve(folder: Path, port: int, host: str) -> None:
    """Serve a folder on this machine with the headers (COOP, COEP) and types that threads and WebAssembly need."""
    from .targets.web.serve import address_of, server_of

    with server_of(folder, host=host, port=port) as server:
        out.print(f"{escape(str(folder))} is at {address_of(server)} (stop with Ctrl+C)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            out.print("stopped")
