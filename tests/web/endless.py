"""A WebAssembly module with a kernel that never ends."""

from __future__ import annotations

LOOP = bytes([0, 0x03, 0x40, 0x0C, 0, 0x0B, 0x00, 0x0B])  # no locals; loop, br 0, end; unreachable; end


def number(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte, at = data[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def leb(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def sections(module: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 8
    while at < len(module):
        kind = module[at]
        size, at = number(module, at + 1)
        found.append((kind, module[at : at + size]))
        at += size
    return found


def exported(module: bytes) -> dict[str, int]:
    """The index of each exported function."""
    (body,) = [body for kind, body in sections(module) if kind == 7]
    count, at = number(body, 0)
    found = {}
    for _ in range(count):
        size, at = number(body, at)
        name, kind, at = body[at : at + size].decode(), body[at + size], at + size + 1
        index, at = number(body, at)
        if kind == 0:
            found[name] = index
    return found


def endless(module: bytes, export: str, imported_functions: int) -> bytes:
    """``module`` with that function's body in place of ``export``'s."""
    wanted = exported(module)[export] - imported_functions
    out = module[:8]
    for kind, body in sections(module):
        if kind == 10:
            count, at = number(body, 0)
            bodies = []
            for _ in range(count):
                size, at = number(body, at)
                bodies.append(body[at : at + size])
                at += size
            bodies[wanted] = LOOP
            body = leb(count) + b"".join(leb(len(b)) + b for b in bodies)
        out += bytes([kind]) + leb(len(body)) + body
    return out
