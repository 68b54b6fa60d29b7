"""Every call of MetaSchedule, TVM's search over schedules, stands here; beside compat.py, because only a search needs it.

A trace is what a schedule did, as a JSON value: applied to the same function it gives the same kernel, in any process.

Left out of MetaSchedule on purpose: its builders and runners (they need cloudpickle and psutil, and their processes time out on a busy
machine), and its cost models (xgboost, torch).  What is used needs numpy alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tvm
import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir.utils import derived_object
from tvm.s_tir import meta_schedule as ms
from tvm.s_tir.meta_schedule import _ffi_api

from . import compat
from .runtime.dtypes import numpy_dtype

if TYPE_CHECKING:
    from .targets import Search

POPULATION, GENERATIONS = 48, 2  # schedules that a batch is bred from; TVM's 512 and 4 take longer than the trials do
BATCH = 16  # trials between two generations
TURN_MS = 3  # what a turn of a kernel takes at least
FAILED_S = 1e10  # what a trial that failed is said to have taken

Trace = Any


def trace_name(trace: Trace) -> str:
    """The candidate's name in records."""
    return f"search {hashlib.sha256(json.dumps(trace).encode()).hexdigest()[:10]}"


def function_text(function: tirx.PrimFunc) -> str:
    """A kernel as text that ``function_of`` reads."""
    return str(tvm.ir.save_json(function))


def function_of(text: str) -> tirx.PrimFunc:
    return tvm.ir.load_json(text)


def replay(function: tirx.PrimFunc, trace: Trace) -> tirx.PrimFunc:
    """The kernel that a trace makes of ``function``.  Raises RuntimeError, ValueError, TypeError or IndexError when it does not apply."""
    sch = s_tir.Schedule(_module(function), error_render_level="none")
    s_tir.Trace.apply_json_to_schedule(trace, sch)
    return _kernel(sch, function)


def _module(function: tirx.PrimFunc) -> tvm.IRModule:
    # a copy: a schedule of a module changes loops in place that this function shares with the one it was made from
    return tvm.IRModule({"main": compat.copy_primfunc(function).with_attr("global_symbol", "main")})


def _kernel(sch: s_tir.Schedule, function: tirx.PrimFunc) -> tirx.PrimFunc:
    kernel = sch.mod["main"]
    return kernel if "global_symbol" in (function.attrs or {}) else kernel.without_attr("global_symbol")


@dataclass(frozen=True)
class Proposal:
    """A schedule to try."""

    trace: Trace
    kernel: tirx.PrimFunc
    candidate: Any


class Evolution:
    """MetaSchedule's evolutionary search for the schedule of one kernel of static shape.

    ``how``: what the target says of searches.  ``known``: traces that were tried, each with its seconds, or
    None where it failed: the search goes on from them.
    """

    def __init__(
        self,
        function: tirx.PrimFunc,
        target: tvm.target.Target,
        how: Search,
        *,
        trials: int,
        seed: int = 1,
        known: Sequence[tuple[Trace, float | None]] = (),
    ) -> None:
        self._function = function
        module, population = _module(function), min(POPULATION, 8 * trials)
        self._context = _context(
            module,
            target,
            _space(module, how),
            ms.search_strategy.EvolutionarySearch(
                population_size=population, genetic_num_iters=GENERATIONS, init_min_unmeasured=population // 3, max_fail_count=20
            ),
            seed,
        )
        self._database = ms.database.MemoryDatabase()
        self._workload = self._database.commit_workload(self._context.mod)
        self._model = _Model()
        self._put_known(known)
        self._context.pre_tuning(trials, BATCH, self._context.generate_design_space(), self._database, self._model)

    def batch(self, most: int) -> list[Proposal]:
        """The schedules to try next, at most so many; empty when there is nothing more to try."""
        found = list(self._context.generate_measure_candidates() or ())[:most]
        return [Proposal(_json(c.sch.trace), _kernel(c.sch, self._function), c) for c in found]

    def tell(self, tried: Sequence[tuple[Proposal, float | None]]) -> None:
        """What the schedules of a whole batch took in seconds; None: it failed."""
        candidates = [proposal.candidate for proposal, _ in tried]
        results = [ms.runner.RunnerResult([s], None) if s else ms.runner.RunnerResult(None, "failed") for _, s in tried]
        for candidate, (_, seconds) in zip(candidates, tried, strict=True):
            self._commit(candidate.sch.trace, seconds, candidate.args_info)
        self._context.notify_runner_results(candidates, results)
        self._model.learn(self._context, candidates, [seconds for _, seconds in tried])

    def _put_known(self, known: Sequence[tuple[Trace, float | None]]) -> None:
        candidates, times = [], []
        for trace, seconds in known:
            sch = s_tir.Schedule(self._context.mod, error_render_level="none")
            try:
                s_tir.Trace.apply_json_to_schedule(trace, sch)
            except (RuntimeError, ValueError, TypeError, IndexError):
                continue  # of another version
            candidate = ms.MeasureCandidate(sch, ms.arg_info.ArgInfo.from_entry_func(sch.mod, False))
            self._commit(sch.trace, seconds, candidate.args_info)
            candidates.append(candidate)
            times.append(seconds)
        self._model.learn(self._context, candidates, times)

    def _commit(self, trace: s_tir.Trace, seconds: float | None, arguments: Any) -> None:
        record = ms.database.TuningRecord(trace, self._workload, [seconds or FAILED_S], self._context.target, arguments)
        self._database.commit_tuning_record(record)


def _context(mod: tvm.IRModule, target: tvm.target.Target, space: Any, strategy: Any, seed: int) -> ms.TuneContext:
    """A TuneContext without its constructor's import of all of TVM's tensor intrinsics, which takes half a minute."""
    threads = len(os.sched_getaffinity(0))
    context = _ffi_api.TuneContext(mod, target, space, strategy, "main", threads, seed, lambda level, file, line, text: None)
    _ffi_api.TuneContextInitialize(context)
    return context


def _json(trace: s_tir.Trace) -> Trace:
    return _plain(trace.simplified(False).as_json())


def _plain(value: Any) -> Any:
    """TVM leaves its own numbers in a trace's JSON."""
    match value:
        case list():
            return [_plain(v) for v in value]
        case tirx.IntImm() | tirx.FloatImm():
            return value.value
    return value


def _rules(lanes: int, threads: int) -> list[Any]:
    """MetaSchedule's rules for CPUs; the parallel ones only where kernels have several threads."""
    rule = ms.schedule_rule
    reuse = rule.ReuseType(req="may", levels=[1, 2], scope="global")
    return [
        rule.InlineConstantScalars(),
        rule.AutoInline(
            into_producer=False,
            into_consumer=True,
            inline_const_tensor=True,
            disallow_if_then_else=True,
            require_injective=True,
            require_ordered=True,
            disallow_op=["tirx.exp"],
        ),
        *([rule.AddRFactor(max_jobs_per_core=16, max_innermost_factor=64)] if threads > 1 else []),
        rule.MultiLevelTiling(structure="SSRSRS", max_innermost_factor=64, reuse_write=reuse),
        rule.ParallelizeVectorizeUnroll(
            max_jobs_per_core=16 if threads > 1 else -1,
            max_vectorize_extent=4 * lanes,
            unroll_max_steps=[0, 4, 16, 64],  # bodies with exp are long: TVM's 512 makes LLVM work for minutes
            unroll_explicit=True,
        ),
        rule.RandomComputeLocation(),
    ]


def _space(module: tvm.IRModule, how: Search) -> Any:
    """The target's own design spaces, or else those of MetaSchedule's rules."""
    post, chances = ms.postproc, _mutators(how.threads)
    try:
        made = how.spaces(s_tir.Schedule(module, error_render_level="none"))
    except (RuntimeError, ValueError, TypeError, IndexError):
        made = []  # fused with something that the target's spaces do not foresee
    if made:
        return ms.space_generator.ScheduleFn(lambda sch: how.spaces(sch), [], [post.DisallowDynamicLoop(), _Fits(how)], chances)
    posts = [post.DisallowDynamicLoop(), post.RewriteParallelVectorizeUnroll(), post.RewriteReductionBlock()]
    return ms.space_generator.PostOrderApply(sch_rules=_rules(how.lanes, how.threads), postprocs=posts, mutator_probs=chances)


@derived_object
class _Fits(ms.postproc.PyPostproc):
    """Refuses the schedules that the target thinks nothing of."""

    def __init__(self, how: Search) -> None:
        super().__init__()
        self.how = how

    def _initialize_with_tune_context(self, context: Any) -> None:
        pass

    def apply(self, sch: s_tir.Schedule) -> bool:
        return self.how.fits(sch)

    def clone(self) -> Any:
        return _Fits(self.how)


def _mutators(threads: int) -> dict[Any, float]:
    mutator = ms.mutator
    chances = {mutator.MutateTileSize(): 0.8, mutator.MutateComputeLocation(): 0.1, mutator.MutateUnroll(): 0.1}
    return chances | ({mutator.MutateParallel(max_jobs_per_core=16): 0.02} if threads > 1 else {})


@derived_object
class _Model(ms.cost_model.PyCostModel):
    """A guess of speed from TVM's features of a schedule: ridge regression on radial functions around those that were timed."""

    def __init__(self) -> None:
        super().__init__()
        self.extractor = ms.feature_extractor.PerStoreFeature()
        self.features = np.zeros((0, 0))
        self.scores = np.zeros(0)
        self.seconds: list[float | None] = []

    def load(self, path: str) -> None:
        raise NotImplementedError

    def save(self, path: str) -> None:
        raise NotImplementedError

    def update(self, context: Any, candidates: Any, results: Any) -> None:
        """Not called: the loop is ours; see learn."""

    def learn(self, context: ms.TuneContext, candidates: list[Any], seconds: list[float | None]) -> None:
        if not candidates:
            return
        made = self._features(context, candidates)
        self.features = np.concatenate([self.features, made]) if len(self.features) else made
        self.seconds += seconds
        best = min((s for s in self.seconds if s), default=1.0)
        self.scores = np.array([best / s if s else 0.0 for s in self.seconds])  # 1: the best; 0: failed

    def predict(self, context: Any, candidates: Any) -> np.ndarray:
        made = self._features(context, candidates)
        if len(self.scores) < 4:
            return np.random.default_rng(len(made)).random(len(made))
        mean, scale = self.features.mean(0), self.features.std(0) + 1e-3
        known, new = (self.features - mean) / scale, (made - mean) / scale
        near = _near(known, known)
        middle = self.scores.mean()
        weights = np.linalg.solve(near + 0.1 * np.eye(len(known)), self.scores - middle)
        return middle + _near(new, known) @ weights

    def _features(self, context: Any, candidates: Any) -> np.ndarray:
        """One row a schedule: sum and maximum over its stores."""
        parts = [f.numpy() for f in self.extractor.extract_from(context, candidates)]
        return np.nan_to_num(np.stack([np.concatenate([p.sum(0), p.max(0)]) for p in parts]))


def _near(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How alike rows of a and b are: 1 for the same."""
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2 * a @ b.T
    return np.exp(-np.maximum(squares, 0.0) / (2.0 * a.shape[1]))


def use_threads(count: int) -> None:
    """Parallel loops of kernels run on ``count`` threads, on any of the CPUs of this process (mode -3)."""
    allowed = os.sched_getaffinity(0)
    cpus = [str(cpu) for cpu in sorted(allowed)]
    tvm_ffi.get_global_func("runtime.config_threadpool")(-3, count, cpus, max(count, len(cpus)))
    os.sched_setaffinity(0, allowed)


class Kernel:
    """One kernel, compiled as it is in a model, with numbers near 1 to run it on."""

    def __init__(self, kernel: tirx.PrimFunc, target: tvm.target.Target) -> None:
        module = tirx.build(_module(kernel), target=target, pipeline=compat.tir_pipeline())
        rng = np.random.default_rng(0)
        self._arguments = []
        for parameter in kernel.params:
            shape, dtype = [int(d) for d in parameter.ty.shape], str(parameter.ty.dtype)
            numbers = rng.integers(0, 2, shape) if "int" in dtype or dtype == "bool" else rng.random(shape) + 0.5
            self._arguments.append(tvm.runtime.tensor(numbers.astype(numpy_dtype(dtype))))
        self._timer = tvm.runtime.Executable(module).jit().time_evaluator("main", tvm.cpu(), number=1, repeat=1, min_repeat_ms=TURN_MS)

    def seconds(self) -> float:
        """The mean time of a few calls."""
        return float(self._timer(*self._arguments).mean)

    def ratio(self, other: Kernel, turns: int) -> float:
        """This kernel's time over the other's: what else the machine does slows down both of a turn, so the median turn tells."""
        return statistics.median(self.seconds() / other.seconds() for _ in range(turns))
