"""User errors say what, where and what to do; InternalError asks for a report."""

from __future__ import annotations

from collections.abc import Iterable


class OarlockError(Exception):
    """Base of every error that a user can cause or act on.

    ``what`` is one sentence; ``where`` names the file, operator or input; ``todo`` says what to do about it.
    """

    def __init__(self, what: str, *, where: str = "", todo: str = "") -> None:
        self.what, self.where, self.todo = what, where, todo
        super().__init__(what)

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.todo:
            lines.append(f"  to do: {self.todo}")
        return "\n".join(lines)

    def at(self, where: str) -> OarlockError:
        """The same error with ``where`` put in front of what is already known of the place."""
        self.where = f"{where}: {self.where}" if self.where else where
        return self


class ModelError(OarlockError):
    """The model files are missing, damaged, or not a Paddle model."""


class UnsupportedError(OarlockError):
    """The model is good, but Oarlock does not support something in it."""


class UnsupportedOperators(UnsupportedError):
    """Every unsupported operator of a model, reported at once.

    ``operators`` is a list of dicts: name, count, reason, attributes (of the first), where (handles).
    """

    def __init__(self, operators: Iterable[dict], *, where: str = "", todo: str = "") -> None:
        self.operators = list(operators)
        total = sum(o["count"] for o in self.operators)
        names = len({o["name"] for o in self.operators})
        lines = [f"{total} operation(s) of {names} operator(s) are not supported"]
        for o in self.operators:
            places = ", ".join(o["where"][:3]) + (", …" if len(o["where"]) > 3 else "")
            attrs = ", ".join(f"{k}={v!r:.80}" for k, v in list(o["attributes"].items())[:8])
            lines.append(f"    {o['name']} ×{o['count']}: {o['reason']}\n        at {places}; attributes: {attrs or 'none'}")
        super().__init__(
            "\n".join(lines),
            where=where,
            todo=todo
            or "on the CPU, let each run as a call of a Python function (oarlock.host_operator) or of Paddle (host='paddle', "
            "--host paddle), see docs/host-calls.md; or register it with oarlock.operator (see CONTRIBUTING.md); or cut the model "
            "before these operations",
        )


class InputError(OarlockError):
    """An input given to a Session or to compile() has a wrong name, rank, dtype or shape."""


class ArtifactError(OarlockError):
    """An artifact file is damaged, or was made by an incompatible version."""


class TargetError(OarlockError):
    """The target is unknown, misconfigured, or a tool that it needs is missing."""


class HostCallError(OarlockError):
    """A function that a model calls on the host is not there, failed, or returned something else than the model declares."""


class InternalError(RuntimeError):
    """A fault of Oarlock itself: please report it with the model (or `oarlock inspect --json`) and the traceback."""
