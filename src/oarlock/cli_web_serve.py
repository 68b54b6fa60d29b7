"""The commands ``oarlock web serve`` and ``oarlock web token``."""

from __future__ import annotations

from pathlib import Path

import click

from .cli_common import escape, out


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at; 0.0.0.0 is open to your network.")
@click.option("--keys", multiple=True, type=click.Path(path_type=Path), help="Give this key of a protected model to pages with a token.")
@click.option("--origin", "origins", multiple=True, metavar="URL", help="Pages elsewhere that may ask for keys: https://shop.example")
def serve(folder: Path, port: int, host: str, keys: tuple[Path, ...], origins: tuple[str, ...]) -> None:
    """Serve a folder on this machine with the headers (COOP, COEP) and types that threads and WebAssembly need."""
    from .targets.web.keys import ENDPOINT, handler_of, read_key
    from .targets.web.serve import Handler, address_of, server_of

    handler = handler_of([read_key(path) for path in keys], origins) if keys else Handler
    with server_of(folder, host=host, port=port, handler=handler) as server:
        address = address_of(server)
        out.print(f"{escape(str(folder))} is at {address} (stop with Ctrl+C)")
        if keys:
            pages = " and of ".join(["this server", *origins])
            out.print(f"keys are at {address.rstrip('/')}{ENDPOINT}, for pages of {pages}")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            out.print("stopped")


@click.command()
@click.argument("key", type=click.Path(path_type=Path))
@click.option("--seconds", type=int, default=60, show_default=True, help="How long it is good for, 3600 at most.")
def token(key: Path, seconds: int) -> None:
    """Print a token with which a program gets the key in the file KEY from `oarlock web serve --keys`."""
    from .targets.web.keys import read_key

    click.echo(read_key(key).token(seconds))
