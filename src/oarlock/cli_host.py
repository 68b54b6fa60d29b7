"""What the commands show of host calls, and the option --host."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from .cli_common import escape
from .errors import InputError

if TYPE_CHECKING:
    from .runtime.host import HostTime

host_option = click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="WHAT",
    help='Who runs operations that Oarlock cannot: "paddle", or a Python file or module that registers functions for them.',
)


def load_hosts(hosts: tuple[str, ...]) -> str | None:
    """Import the files and modules of --host, which register functions → "paddle" when that is among them."""
    for host in hosts:
        if host == "paddle":
            continue
        try:
            if not host.endswith(".py"):
                importlib.import_module(host)
                continue
            path = Path(host)
            spec = importlib.util.spec_from_file_location(path.stem, path)
            assert spec is not None and spec.loader is not None  # it ends in .py
            spec.loader.exec_module(importlib.util.module_from_spec(spec))
        except Exception as error:  # whatever a user's file raises
            raise InputError(
                f"--host {host}: {type(error).__name__}: {error}",
                todo="give paddle, or a Python file or module that registers functions with oarlock.host_operator",
            ) from error
    return "paddle" if "paddle" in hosts else None


def needs(calls: Sequence[Mapping[str, Any]]) -> list[str]:
    """What an artifact's host calls need where it runs, a line each."""
    of_paddle = sorted({call["operator"] for call in calls if call["by"] == "paddle"})
    functions = sorted({(call["operator"], call["function"]) for call in calls if call["by"] == "python"})
    lines = [f"paddlepaddle where it runs, for {', '.join(of_paddle)}"] if of_paddle else []
    return lines + [f"a Python function where it runs, for {operator} (here {function})" for operator, function in functions]


def prices(calls: Sequence[Mapping[str, Any]]) -> Table:
    """What crosses in each host call of a model."""
    table = Table("host call", "runs as", "bytes in", "bytes out", title="host calls", title_justify="left")
    for call in calls:
        table.add_row(
            escape(f"{call['operator']} ({call['where']})"), escape(call["host"]), *map(_size, (call["bytes_in"], call["bytes_out"]))
        )
    return table


def _size(size: int | str | None) -> str:
    return "known when it runs" if size is None else f"{size:,}" if isinstance(size, int) else escape(size)


def times(calls: Sequence[HostTime]) -> Table:
    """What the host calls of one run took, on average."""
    table = Table("host call", "runs as", "calls", "ms", "bytes in", "bytes out")
    for call in calls:
        numbers = f"{call.calls:.3g}", f"{call.seconds * 1e3:.3f}", f"{call.bytes_in:,.0f}", f"{call.bytes_out:,.0f}"
        table.add_row(escape(call.name), escape(call.runs_as), *numbers)
    return table
