"""Pipeline parallel: the program cut into stages, each for a device, of near equal modelled cost.

A stage takes what it needs of the model's inputs and of earlier stages' results, and gives what later ones, or the model, need.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import tvm
from tvm import relax

from oarlock import compat
from oarlock.errors import UnsupportedError
from oarlock.rules.rewriting import rebound, substituted

from ..chips import Chip
from ..compiler.graph import shape_of
from .split import name_of

_ASSUMED = 128  # the size of a dim that only a run tells, where costs are compared


@dataclass
class Stage:
    """``takes``, ``gives``: names of its main's parameters and results; ``forward``: names of all that goes on to the next stage."""

    module: tvm.IRModule
    takes: list[str]
    gives: list[str]
    forward: list[str]


def cut(mod: tvm.IRModule, inputs: list[str], outputs: list[str], count: int, chip: Chip, note: Callable[[str], None]) -> list[Stage]:
    """The stages of a module's main.  UnsupportedError when it cannot be cut into so many."""
    main = mod["main"]
    program = _Program(main, inputs, outputs)
    costs = [_cost(binding.value, chip) for binding in program.bindings]
    legal = [k for k in range(1, len(costs)) if program.can_cut(k)]
    places = _balanced(costs, legal, count)
    if places is None:
        raise UnsupportedError(
            f"the model has no {count - 1} places where it can be cut into stages", where=f"option parallel, pp={count}", todo="use fewer"
        )
    ends = [0, *places, len(costs)]
    shares = [sum(costs[a:b]) for a, b in zip(ends, ends[1:], strict=False)]
    note(f"{count} stages of {', '.join(f'{share:.0f} µs' for share in shares)} (modelled)")
    return [program.stage(mod, a, b) for a, b in zip(ends, ends[1:], strict=False)]


class _Program:
    """The bindings of a function in order, and what is alive between them."""

    def __init__(self, main: relax.Function, inputs: list[str], outputs: list[str]) -> None:
        self.params = dict(zip(inputs, main.params, strict=True))
        self.bindings = [binding for block in main.body.blocks for binding in block.bindings]
        body = main.body.body
        results = list(body.fields) if isinstance(body, relax.Tuple) else [body]
        self.results = dict(zip(outputs, results, strict=True))
        self.made = {binding.var: number for number, binding in enumerate(self.bindings)}
        self.last: dict[relax.Var, int] = {}  # the last binding that reads a variable; results are read at the end
        for number, binding in enumerate(self.bindings):
            for var in _variables(binding.value):
                self.last[var] = number
        for result in results:
            for var in _variables(result):
                self.last[var] = len(self.bindings)
        names = {var: name for name, var in self.params.items()}
        taken = set(inputs) | set(outputs)
        for binding in self.bindings:
            base = name = str(binding.var.name)
            while name in taken:
                name += "'"
            names[binding.var] = name
            taken.add(name if name != base else base)
        self.names = names

    def alive(self, k: int) -> list[relax.Var]:
        """What is made before binding ``k`` and read from there on."""
        return [var for var, number in self.made.items() if number < k <= self.last.get(var, -1)]

    def can_cut(self, k: int) -> bool:
        """Only tensors go from one device to another, and their dims say all that is to be known of sizes."""
        if not all(isinstance(var.ty, relax.TensorType) and shape_of(var) is not None for var in self.alive(k)):
            return False
        known = _defined([*self.alive(k), *self.params.values()])
        for binding in self.bindings[k:]:
            if isinstance(binding, relax.MatchCast):  # which defines what it names
                known |= {v for v in compat.variables(binding.ty) if compat.is_dim(v)}
            if not _used(binding) <= known:
                return False
        return True

    def stage(self, mod: tvm.IRModule, start: int, end: int) -> Stage:
        """The bindings from ``start`` to ``end`` as a program of their own."""
        own = self.bindings[start:end]
        inside = {binding.var for binding in own}
        read = {var for binding in own for var in _variables(binding.value)}
        final = end == len(self.bindings)
        results = {name: value for name, value in self.results.items() if not isinstance(value, relax.Var)} if final else {}
        given = {name: v for name, v in self.results.items() if isinstance(v, relax.Var) and v in inside}
        for var in self.alive(end):
            if var in inside and var not in given.values():
                given[self.names[var]] = var
        read |= {var for value in results.values() for var in _variables(value)}
        sources = {self.names[var]: var for var in self.alive(start) if var in read}
        sources |= {name: var for name, var in self.params.items() if var in read}
        bound = _defined(list(sources.values()))
        for name, var in self.params.items():  # which some dim of the stage is only known from
            if name not in sources and _defined([var]) & (set().union(*map(_used, own)) - bound):
                sources[name] = var
                bound |= _defined([var])
        given |= results
        gone = {name: v for name, v in self.results.items() if isinstance(v, relax.Var) and v in self.made and self.made[v] < start}
        passed = {self.names[var]: var for var in self.alive(end) if var not in inside and var not in gone.values()}
        direct = {name: v for name, v in self.results.items() if final and isinstance(v, relax.Var) and v in self.params.values()}
        sources |= {self.names[v]: v for v in direct.values()}
        given |= direct
        return Stage(_module(mod, sources, own, given), list(sources), list(given), list(dict.fromkeys([*given, *gone, *passed])))


def _module(mod: tvm.IRModule, sources: dict[str, relax.Var], bindings: list[relax.Binding], given: dict[str, relax.Expr]) -> tvm.IRModule:
    new: dict[relax.Var, relax.Var] = {}
    params = []
    for number, var in enumerate(sources.values()):
        new[var] = relax.Var(f"p{number}", var.ty)
        params.append(new[var])
    for binding in bindings:  # dataflow blocks are made again later: here every variable may be a result
        new[binding.var] = relax.Var(str(binding.var.name), binding.var.ty)
    block = relax.BindingBlock([rebound(binding, new) for binding in bindings])
    results = relax.Tuple([substituted(value, new) for value in given.values()])
    body = relax.SeqExpr([block], results)
    compat.set_type(body, results.ty)
    function = relax.Function(params, body, is_pure=True).with_attr("global_symbol", "main")
    functions = {gv: f for gv, f in mod.functions.items() if gv.name_hint != "main"}
    made = tvm.IRModule({relax.GlobalVar("main"): function, **functions}, attrs=mod.attrs)
    return relax.transform.DeadCodeElimination()(relax.transform.Normalize()(made))


def _variables(value: relax.Expr) -> list[relax.Var]:
    found: list[relax.Var] = []
    relax.analysis.post_order_visit(value, lambda e: found.append(e) if isinstance(e, relax.Var) else None)
    return found


def _used(binding: relax.Binding) -> set[tvm.tirx.Var]:
    """The dims that a binding names."""
    inside = {v for v in compat.variables(binding.value) if compat.is_dim(v)}
    for dim in shape_of(binding.var) or []:
        if not isinstance(dim, int):
            inside |= compat.variables(dim)
    return inside


def _defined(variables: list[relax.Var]) -> set[tvm.tirx.Var]:
    """The symbols that tensors tell the values of: dims that are a symbol, and no expression of one."""
    return {dim for var in variables for dim in shape_of(var) or [] if not isinstance(dim, int) and compat.variables(dim) == {dim}}


def _balanced(costs: list[float], legal: list[int], count: int) -> list[int] | None:
    """Where to cut so that the largest of ``count`` stages is as small as can be; None where there are too few places."""
    total = [0.0]
    for cost in costs:
        total.append(total[-1] + cost)
    ends = [*legal, len(costs)]
    best: dict[int, tuple[float, list[int]]] = {end: (total[end], []) for end in ends}  # of one stage up to here
    for _ in range(count - 1):
        more: dict[int, tuple[float, list[int]]] = {}
        for end in ends:
            options = [(max(worst, total[end] - total[at]), [*cuts, at]) for at, (worst, cuts) in best.items() if at < end]
            if options:
                more[end] = min(options)
        best = more
    return best[len(costs)][1] if len(costs) in best else None


def _cost(value: relax.Expr, chip: Chip) -> float:
    """Modelled µs of one operation: its launch, and the longer of its products and its traffic."""
    if not isinstance(value, relax.Call) or not isinstance(value.ty, relax.TensorType) or name_of(value) == "reshape":
        return 0.0
    traffic = sum(_elements(e) for e in [value, *value.args] if isinstance(e.ty, relax.TensorType)) * 4
    products = 0.0
    name, out = name_of(value), _elements(value)
    if name == "matmul":
        products = out * _dims(value.args[0])[-1]
    elif name.startswith("nn.conv"):
        weight = _dims(value.args[1])
        products = out * math.prod(weight[1:])
    return chip.launch_us + max(products / (chip.f32 * 1e6), traffic / (chip.gm_gbs * 1e3))


def _dims(value: relax.Expr) -> list[int]:
    return [d if isinstance(d, int) else _ASSUMED for d in shape_of(value) or []] or [1]


def _elements(value: relax.Expr) -> int:
    return math.prod(_dims(value))
