"""Where servers for pages listen, and by which names they are reached."""

from __future__ import annotations

import socket

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# hosts that stand for all addresses of a kind: which, an address of others to look towards, and loopback
EVERYWHERE = {"0.0.0.0": (socket.AF_INET, "192.0.2.1", "127.0.0.1"), "::": (socket.AF_INET6, "2001:db8::1", "::1")}


def addresses(host: str) -> list[str]:
    """By which names a server that listens at ``host`` is reached: of all addresses of a kind the one that others know, if there is one."""
    if host not in EVERYWHERE:
        return [host]
    family, far, _ = EVERYWHERE[host]
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))  # of datagrams: nothing is sent
            return [str(probe.getsockname()[0])]
    except OSError:
        return [near(host)]


def near(host: str) -> str:
    """By which name this machine reaches a server that listens at ``host``."""
    return EVERYWHERE[host][2] if host in EVERYWHERE else host


def in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
