"""A page as the place where trials run (kernels/place.py)."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .... import compat
from ....errors import InputError, TargetError
from ....inputs import npz_inputs
from ....kernels.trials import Processes, TrialError
from ....runtime.artifact import Artifact
from ....runtime.dtypes import COMPLEX, numpy_dtype, parts
from ....runtime.signature import check_names, check_shape
from ....targets import Target
from ....web_variants import ALONE, VARIANTS
from ..module import section
from ..plan import PLAN
from .builder import Builders, Built
from .server import Server

MOST_THREADS = 4  # unless more are asked for
CHUNK_BYTES = 1 << 20  # builds share weights that are packed alike, and browsers keep them
LEAST_BUDGET_MS = 60.0
BASE_TURNS, TURNS, FINAL_TURNS = 15, 5, 40
BASE_LIMIT_S = 300.0  # for a kernel that is in use
_UPON = re.compile(r"_upon_\d+$")  # a kernel whose result lies upon an operand


class BrowserPlace:
    """Asks the page of ``server``, which must be there already: its browser and machine are part of the records' key."""

    def __init__(self, server: Server, processes: Processes, threads: int | None = None) -> None:
        self._server, self._processes = server, processes
        self._wanted = threads
        self.threads = 0  # that run the loops of the variant; 0 of one without threads
        page = server.page()
        server.wanted = page.kind
        self.hello = page.hello
        # what a page may know of its machine is little; this one we know
        self.machine = compat.llvm_host_cpu() if page.local else f"{self.hello['device']} {self.hello['cores']} cores"
        self.browser = f"{self.hello['browser']} {self.hello['major']}"
        self._numbers = itertools.count()
        self._once = 0.0
        self._bench: BrowserBench | None = None

    @property
    def waited_s(self) -> float:
        return self._server.waited_s

    @property
    def best_variant(self) -> str:
        """The best of one thread that the browser runs."""
        return next(name for name in ALONE if set(VARIANTS[name].needs) <= set(self.hello["needs"]))

    def record_key(self, target: Target) -> tuple[str, str]:
        key, family = target.record_key
        variant = str(target.options["variant"])
        missing = set(VARIANTS[variant].needs) - set(self.hello["needs"])
        if "threads" in missing and not self.hello["isolated"]:
            raise TargetError(
                f"threads cannot be tuned on this page: it is not cross-origin isolated, which browsers grant to pages of this machine "
                f"and of https alone, so {variant} does not run there",
                where=f"{self.browser} on {self.machine}",
                todo=f"open the page on this machine (--host 127.0.0.1), or tune --variant {self.best_variant}",
            )
        if missing:
            raise TargetError(
                f"this browser cannot run the variant {variant}: it has no {', '.join(sorted(missing))}",
                where=self.browser,
                todo=f"tune --variant {self.best_variant}",
            )
        self.threads = self._threads_for(variant)
        on = f" on {self.threads} threads" if self.threads else ""
        return f"{key} {self.browser} {self.machine}{on}", family

    def _threads_for(self, variant: str) -> int:
        """As web/src/model.ts has it: as many as there are cores, at most 4."""
        if "threads" not in VARIANTS[variant].needs:
            if self._wanted is not None:
                raise InputError(f"the variant {variant} has no threads", where="--threads", todo=f"tune --variant {variant}-threads")
            return 0
        if self._wanted is None and int(self.hello["cores"]) < 2:
            what = "the machine has one core: pages take a variant without threads there"
            raise TargetError(what, where=self.browser, todo="give --threads 2")
        return self._wanted or min(MOST_THREADS, int(self.hello["cores"]))

    def runner(self, artifact: Path, inputs: Path) -> BrowserRunner:
        return BrowserRunner(self._server, f"model{next(self._numbers)}", artifact, inputs, self)

    def bench(self, job: Mapping[str, Any], folder: Path) -> BrowserBench:
        self._bench = BrowserBench(self._server, Builders(self._processes, job, folder), self.team)
        return self._bench

    def show(self, state: Mapping[str, Any]) -> None:
        self._server.show({**state, "title": f"Tuning {state['title']}"})

    def close(self) -> None:
        if self._bench is not None:
            self._bench.close()

    @property
    def team(self) -> dict[str, int]:
        """What questions say of threads."""
        return {"threads": self.threads} if self.threads else {}

    def budget_ms(self, runs: int) -> float:
        return max(LEAST_BUDGET_MS, 1e3 * self._once * runs)

    def ran(self, seconds: float) -> None:
        self._once = seconds


class BrowserRunner:
    """One build of the model, in a worker of the page."""

    def __init__(self, server: Server, worker: str, artifact: Path, inputs: Path, place: BrowserPlace) -> None:
        self._server, self._worker, self._place = server, worker, place
        made = Artifact.load(artifact)
        plan = json.loads(section(bytes(made.library), PLAN) or b"{}")
        self._names = [_UPON.sub("", kernel["name"]) for kernel in plan["kernels"]]
        self._outputs = [(spec.name, spec.stored.dtype) for spec in made.signature.outputs]
        self._files: list[str] = []
        arrays = npz_inputs(inputs)
        symbols: dict[str, tuple[int, str]] = {}
        check_names(made.signature.inputs, arrays)
        for spec in made.signature.inputs:
            check_shape(spec, arrays[spec.name].shape, symbols)
        weights = made.weights[0].tobytes() if made.weights else b""
        self._build = {
            "module": self._put(bytes(made.library)),
            "weights": [self._put(weights[at : at + CHUNK_BYTES]) for at in range(0, len(weights), CHUNK_BYTES)],
            "inputs": [self._input(spec.name, spec.dtype, arrays) for spec in made.signature.inputs],
            "outputs": [spec.stored.to_json() for spec in made.signature.outputs],
            **place.team,
        }

    def outputs(self, limit_s: float) -> dict[str, np.ndarray]:
        shapes, arrays = self._ask({"what": "outputs"}, limit_s)
        return {
            name: np.frombuffer(data, numpy_dtype(dtype)).reshape(shape)
            for (name, dtype), shape, data in zip(self._outputs, shapes, arrays, strict=True)
        }

    def seconds(self, runs: int, limit_s: float) -> float:
        milliseconds, _ = self._ask({"what": "run", "runs": runs}, limit_s)
        self._place.ran(float(milliseconds) / 1e3)
        return float(milliseconds) / 1e3

    def kernels(self, runs: int, limit_s: float) -> dict[str, tuple[float, int]]:
        rows, _ = self._ask({"what": "kernels", "budget": self._place.budget_ms(runs)}, limit_s)
        found: dict[str, tuple[float, int]] = {}
        for (milliseconds, calls), name in zip(rows, self._names, strict=True):
            seconds, before = found.get(name, (0.0, 0))
            if calls:  # a branch may not be taken
                found[name] = seconds + float(milliseconds) / 1e3, before + int(calls)
        return found

    def close(self) -> None:
        self._server.end_worker(self._worker)
        for name in self._files:
            self._server.drop(name)

    def _ask(self, question: Mapping[str, Any], limit_s: float) -> tuple[Any, list[bytes]]:
        try:
            return self._server.ask(self._worker, {**question, "build": self._build}, limit_s)
        except TrialError as error:
            if error.kernel is not None:
                error.kernel = self._names[int(error.kernel)]
            raise

    def _input(self, name: str, dtype: str, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
        array = np.ascontiguousarray(arrays[name].astype(numpy_dtype(dtype), copy=False))
        if dtype in COMPLEX:
            array, dtype = parts(array), COMPLEX[dtype]
        return {"name": name, "dtype": dtype, "shape": list(array.shape), "file": self._put(array.tobytes())}

    def _put(self, content: bytes) -> str:
        self._files.append(self._server.put(content))
        return self._files[-1]


class BrowserBench:
    """Kernels alone, in a worker of the page; they are built here while others are timed there."""

    def __init__(self, server: Server, builders: Builders, team: Mapping[str, int]) -> None:
        self._server, self._builders, self._team = server, builders, team
        self._base: Built | None = None

    def base(self, made: str) -> float:
        self._base = self._builders.build(made, False, BASE_LIMIT_S).result()
        return self._ask({"what": "base", "turns": BASE_TURNS}, BASE_LIMIT_S) / 1e3

    def trials(self, kernels: Iterable[str], limit_s: float) -> Generator[tuple[float | None, str], None, None]:
        builds = [self._builders.build(kernel, True, limit_s) for kernel in kernels]
        try:
            for build in builds:
                try:
                    result: tuple[float | None, str] = self._alone(build.result(), TURNS, limit_s), ""
                except TrialError as error:
                    result = None, str(error)
                yield result
        finally:
            for build in builds:
                build.cancel()

    def again(self, kernel: str, limit_s: float) -> float | None:
        try:
            return self._alone(self._builders.build(kernel, True, limit_s).result(), FINAL_TURNS, 4 * limit_s)
        except TrialError:
            return None

    def close(self) -> None:
        self._builders.close()

    def _alone(self, built: Built, turns: int, limit_s: float) -> float:
        name = self._server.put(built.module)
        try:
            return self._ask({"what": "alone", "kernel": name, "turns": turns}, limit_s)
        finally:
            self._server.drop(name)

    def _ask(self, question: Mapping[str, Any], limit_s: float) -> float:
        assert self._base is not None
        base = self._server.put(self._base.module)
        try:
            answer, _ = self._server.ask("alone", {**question, **self._team, "base": base, "args": self._base.arguments}, limit_s)
        finally:
            self._server.drop(base)
        return float(answer)
