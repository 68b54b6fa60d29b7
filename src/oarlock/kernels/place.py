"""Where trials run: on this machine, or somewhere that a target brings (a browser: targets/web/tuning).

The contest builds the model here in any case; what it times, it asks a place for.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .trials import LocalRunner, Processes

if TYPE_CHECKING:
    import numpy as np

    from ..targets import Target


class Runner(Protocol):
    """Runs one build of the model when asked, each time for at most ``limit_s``.  Raises TrialError."""

    def outputs(self, limit_s: float) -> dict[str, np.ndarray]:
        """What the model gives."""

    def seconds(self, runs: int, limit_s: float) -> float:
        """The least time of a run among ``runs``."""

    def kernels(self, runs: int, limit_s: float) -> dict[str, tuple[float, int]]:
        """Function name → its seconds in a run, and its calls in a run; measured for about as long as ``runs`` runs take."""

    def close(self) -> None: ...


class Bench(Protocol):
    """Times kernels alone, for searches."""

    def base(self, made: str) -> float:
        """Seconds of the kernel that a search starts from (as text), beside which all others are timed."""

    def trials(self, kernels: Iterable[str], limit_s: float) -> Generator[tuple[float | None, str], None, None]:
        """For each kernel its time over the base's, or why it failed; builds go on while others are timed."""

    def again(self, kernel: str, limit_s: float) -> float | None:
        """The same for one of those, for longer."""


class Place(Protocol):
    """``waited_s``: how long nobody could be asked: it does not count as time of the tuning."""

    @property
    def waited_s(self) -> float: ...

    def record_key(self, target: Target) -> tuple[str, str]:
        """As Target.record_key, for what is measured here."""

    def runner(self, artifact: Path, inputs: Path) -> Runner: ...

    def bench(self, job: Mapping[str, Any], folder: Path) -> Bench | None:
        """None: the search's own process times what it proposes."""

    def show(self, state: Mapping[str, Any]) -> None:
        """Told after every trial: see contest.state."""


class Here:
    """This machine: each build runs in a process of its own."""

    waited_s = 0.0

    def __init__(self, processes: Processes, threads: int) -> None:
        self._processes, self._threads = processes, threads

    def record_key(self, target: Target) -> tuple[str, str]:
        return target.record_key

    def runner(self, artifact: Path, inputs: Path) -> Runner:
        return LocalRunner(self._processes, artifact, inputs, self._threads)

    def bench(self, job: Mapping[str, Any], folder: Path) -> None:
        return None

    def show(self, state: Mapping[str, Any]) -> None:
        pass
