"""The choice of what lives in L3.

A kernel's modelled time falls with the bytes that it no longer moves from and to GDDR, but not below what it computes: the gain of a set
of tensors is Σ over kernels of min(cap, Σ of its tensors' gains).  Tensors have lives; at no kernel may what is in L3 be more than L3.
Weights live always: they stay in L3 between runs.

``plan_l3`` chooses by the multipliers of the relaxed problem's dual, which also bound every choice from above (the gap that is told is to
that bound), and improves the choice by exchanges; programs of at most EXACT candidates are searched through with the same bound.  Places
in L3 are found for lives that overlap, the largest first.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..chips import Chip
from .program import ALIGNMENT, DYNAMIC, HOST, INPUT, OUTPUT, VALUE, WEIGHT, Program, Tensor

EXACT = 48  # candidates up to which all choices are looked at
_NODES = 100_000  # of the search, at most
_STEPS = 400  # of the dual's ascent
GAP = 256  # bytes between allocations of the runtime, and between tensors in one


@dataclass(frozen=True)
class Item:
    """A candidate: the tensor's number, its bytes, its life in kernels (both ends in it), what it saves of each kernel's time (ns)."""

    tensor: int
    size: int
    first: int
    last: int
    gains: dict[int, float]
    fixed: bool = False  # it has a place outside of what is planned: a weight


@dataclass(frozen=True)
class Problem:
    """``caps``: by kernel the most ns that can be saved; ``capacity``: bytes; ``pinned``: numbers of items that must be in."""

    items: tuple[Item, ...]
    caps: dict[int, float]
    capacity: int
    steps: int
    pinned: frozenset[int] = frozenset()

    def gain(self, chosen: Sequence[int]) -> float:
        saved: dict[int, float] = {}
        for i in chosen:
            for k, g in self.items[i].gains.items():
                saved[k] = saved.get(k, 0.0) + g
        return sum(min(g, self.caps[k]) for k, g in saved.items())


@dataclass
class Plan:
    """``offsets``: place in L3 of each tensor that lives there, by its number; weights, which have allocations of their own, None.

    ``arena``: bytes of the one allocation that holds the others.  ``gain_ns``, ``bound_ns``: modelled ns that a run saves, and that no
    plan can save more than.  ``exact``: the search proved that there is no better one.  ``why``: for each tensor that is not in L3.
    """

    capacity: int
    offsets: dict[int, int | None] = field(default_factory=dict)
    arena: int = 0
    gain_ns: float = 0.0
    bound_ns: float = 0.0
    exact: bool = False
    why: dict[int, str] = field(default_factory=dict)

    @property
    def gap(self) -> float:
        """The part of the bound that the plan misses."""
        return max(1 - self.gain_ns / self.bound_ns, 0.0) if self.bound_ns > 0 else 0.0


@dataclass(frozen=True)
class Wishes:
    """What a user wants: tensors (by number) in L3 and in GDDR with the place in the file that says so, and weights at all."""

    into_l3: dict[int, str] = field(default_factory=dict)
    into_gddr: dict[int, str] = field(default_factory=dict)
    weights: bool = True


def problem_of(program: Program, chip: Chip, capacity: int, wishes: Wishes) -> tuple[Problem, dict[int, str]]:
    """The candidates; and of all other tensors why they are none."""
    slower = 1 / chip.gm_rate - 1 / chip.l3_rate  # ns that a byte costs more in GDDR
    caps: dict[int, float] = {}
    for k, kernel in enumerate(program.kernels):
        moving = sum(kernel.moves.values()) * kernel.work.share
        spare = moving / chip.gm_rate - kernel.work.compute_ns if kernel.work.overlaps else moving * slower
        caps[k] = 0.0 if kernel.host else max(min(spare, moving * slower), 0.0)
    items, why = [], {}
    for t, tensor in enumerate(program.tensors):
        reason = _no_candidate(tensor, t, capacity, wishes)
        gains = {
            k: kernel.moves[t] * kernel.work.share * slower
            for k, kernel in enumerate(program.kernels)
            if kernel.moves.get(t) and caps[k] > 0
        }
        if not reason and not gains and t not in wishes.into_l3:
            reason = "nothing is gained: its kernels compute longer than they move data, or none of the device touches it"
        if reason:
            why[t] = reason
            continue
        if tensor.kind == WEIGHT:
            items.append(Item(t, tensor.size + GAP, 0, len(program.kernels), gains, fixed=True))
        else:
            items.append(Item(t, tensor.size + GAP, tensor.first, tensor.last, gains))
    pinned = frozenset(i for i, item in enumerate(items) if item.tensor in wishes.into_l3)
    return Problem(tuple(items), caps, max(capacity - GAP, 0), len(program.kernels) + 1, pinned), why


def _no_candidate(tensor: Tensor, number: int, capacity: int, wishes: Wishes) -> str:
    if number in wishes.into_gddr:
        return f"pinned to GDDR: {wishes.into_gddr[number]}"
    if tensor.kind == INPUT:
        return "an input of the model: the session keeps it"
    if tensor.kind == OUTPUT:
        return "a result of the model: it outlives the run"
    if tensor.kind == HOST:
        return "it lives in the host's memory"
    if tensor.kind == DYNAMIC:
        return "its size is known at run time only" if not tensor.bytes else "it is passed on to a loop, a branch or the host"
    if tensor.kind == WEIGHT and not wishes.weights and number not in wishes.into_l3:
        return "weights stay in GDDR (option l3_weights)"
    if tensor.first < 0:
        return "no kernel of the program's main part touches it"
    if tensor.size + GAP > capacity and number not in wishes.into_l3:
        return f"{tensor.size:,} bytes are more than L3's {capacity:,}"
    assert tensor.kind in (VALUE, WEIGHT)
    return ""


def plan_l3(program: Program, chip: Chip, capacity: int, wishes: Wishes | None = None) -> Plan:
    """What lives in L3 of ``capacity`` bytes."""
    problem, why = problem_of(program, chip, capacity, wishes or Wishes())
    chosen, bound, exact = choose(problem)
    made = place(problem, chosen)
    while made is None:  # what fits at every moment need not have room in one piece
        exact = False
        droppable = [i for i in chosen if i not in problem.pinned]
        if not droppable:
            break
        chosen.remove(min(droppable, key=lambda i: problem.gain(chosen) - problem.gain([j for j in chosen if j != i])))
        made = place(problem, chosen)
    offsets, arena = made or ({}, 0)
    if made is None:
        chosen = []
    found = Plan(capacity, {problem.items[i].tensor: offsets.get(i) for i in chosen}, arena, problem.gain(chosen), bound, exact, why)
    for i, item in enumerate(problem.items):
        if i not in chosen:
            found.why[item.tensor] = _spilled(problem, chosen, item, program)
    return found


def _spilled(problem: Problem, chosen: Sequence[int], item: Item, program: Program) -> str:
    """Why an item found no room: where L3 is fullest in its life, and who is there."""
    taken = usage(problem, chosen)
    at = int(item.first + np.argmax(taken[item.first : item.last + 1]))
    there = sorted((i for i in chosen if problem.items[i].first <= at <= problem.items[i].last), key=lambda i: -problem.items[i].size)
    alone = problem.gain([problem.items.index(item)])
    where = program.kernels[at].layer if at < len(program.kernels) else "the end of a run"
    names = ", ".join(program.tensors[problem.items[i].tensor].name for i in there[:3])
    more = f" and {len(there) - 3} more" if len(there) > 3 else ""
    return (
        f"no room: at {where} L3 holds {int(taken[at]):,} of {problem.capacity:,} bytes ({names}{more}), which save more; "
        f"its {item.size:,} bytes would save {alone / 1e3:.2f} µs"
    )


# ---- the choice ------------------------------------------------------------------------------------------------------


def choose(problem: Problem, *, exact: int = EXACT) -> tuple[list[int], float, bool]:
    """Items, a bound of every choice's gain, and whether this choice is proved to be the best."""
    everything = list(range(len(problem.items)))
    if not everything:
        return [], 0.0, True
    if usage(problem, everything).max(initial=0) <= problem.capacity:
        best = problem.gain(everything)
        return everything, best, True
    dual = _Dual(problem)
    found = _improved(problem, _greedy(problem, dual))
    if len(everything) > exact:
        return found, max(dual.bound, problem.gain(found)), False
    return _search(problem, dual, found)


def usage(problem: Problem, chosen: Sequence[int]) -> np.ndarray:
    """Bytes at each step."""
    taken = np.zeros(problem.steps, np.int64)
    for i in chosen:
        item = problem.items[i]
        taken[item.first : item.last + 1] += item.size
    return taken


class _Dual:
    """Multipliers of the relaxed problem, by subgradient ascent: ``prices`` of a byte at each step, ``counted`` the part of each kernel's
    savings that are counted at its tensors, the rest at its cap.  ``value``: what an item is worth at them."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        items, kernels = problem.items, sorted(problem.caps)
        column = {k: c for c, k in enumerate(kernels)}
        gains = np.zeros((len(items), len(kernels)))
        for i, item in enumerate(items):
            for k, g in item.gains.items():
                gains[i, column[k]] = g
        caps = np.array([problem.caps[k] for k in kernels])
        life = np.zeros((len(items), problem.steps))
        for i, item in enumerate(items):
            life[i, item.first : item.last + 1] = item.size
        pinned = np.zeros(len(items), bool)
        pinned[list(problem.pinned)] = True
        # a byte's price begins with the mean worth of one
        worth = gains.sum(1) / np.maximum(life.sum(1), 1)
        prices, counted = np.full(problem.steps, float(np.median(worth))), np.ones(len(kernels))
        self.bound, self.value, self.base = np.inf, np.zeros(len(items)), 0.0
        known = problem.gain(_filled(problem, lambda i: -problem.gain([i]) / items[i].size))
        for step in range(_STEPS):
            value = gains @ counted - life @ prices
            taken = (value > 0) | pinned
            base = float(((1 - counted) * caps).sum() + prices.sum() * problem.capacity)
            bound = base + float(value[taken].sum())
            if bound < self.bound:
                self.bound, self.value, self.base = bound, value, base
            slope_prices = problem.capacity - taken @ life
            slope_counted = taken @ gains - caps
            length = (bound - known) / (1 + step / 50)  # Polyak's, with what is known to be possible
            norm = float((slope_prices**2).sum()) or 1.0
            prices = np.maximum(prices - length * slope_prices / norm, 0)
            norm = float((slope_counted**2).sum()) or 1.0
            counted = np.clip(counted - length * slope_counted / norm, 0, 1)


def _greedy(problem: Problem, dual: _Dual) -> list[int]:
    """The best of several orders, each filled in as long as there is room; what is pinned comes first."""
    items = problem.items

    def area(i: int) -> float:
        return items[i].size * (items[i].last - items[i].first + 1)

    alone = {i: problem.gain([i]) for i in range(len(items))}
    orders: list[Callable[[int], float]] = [
        lambda i: -float(dual.value[i]),
        lambda i: -alone[i] / area(i),
        lambda i: -alone[i] / items[i].size,
        lambda i: -alone[i],
    ]
    return max((_filled(problem, order) for order in orders), key=problem.gain)


def _filled(problem: Problem, order: Callable[[int], float]) -> list[int]:
    """What is pinned, and then item after item that has room."""
    chosen, items = sorted(problem.pinned), problem.items
    taken = usage(problem, chosen)
    for i in sorted(set(range(len(items))) - problem.pinned, key=order):
        span = slice(items[i].first, items[i].last + 1)
        if taken[span].max() + items[i].size <= problem.capacity:
            taken[span] += items[i].size
            chosen.append(i)
    return chosen


def _improved(problem: Problem, chosen: list[int], rounds: int = 3) -> list[int]:
    """Put in one item at the cost of those in its way, while that gains."""
    items = problem.items
    density = [problem.gain([j]) / items[j].size for j in range(len(items))]
    for _ in range(rounds):
        before = problem.gain(chosen)
        for i in range(len(items)):
            if i in chosen:
                continue
            trial, taken = [*chosen, i], usage(problem, [*chosen, i])
            rivals = sorted((j for j in chosen if j not in problem.pinned), key=lambda j: density[j])
            for j in rivals:
                span = slice(items[i].first, items[i].last + 1)
                if taken[span].max() <= problem.capacity:
                    break
                if items[j].last >= items[i].first and items[j].first <= items[i].last:
                    trial.remove(j)
                    taken[items[j].first : items[j].last + 1] -= items[j].size
            if taken.max() <= problem.capacity:
                for j in itertools.chain(rivals[::-1], range(len(items))):  # what still has room
                    if j not in trial:
                        span = slice(items[j].first, items[j].last + 1)
                        if taken[span].max() + items[j].size <= problem.capacity:
                            taken[span] += items[j].size
                            trial.append(j)
                if problem.gain(trial) > problem.gain(chosen) * (1 + 1e-12):
                    chosen = trial
        if problem.gain(chosen) <= before * (1 + 1e-12):
            break
    return chosen


def _search(problem: Problem, dual: _Dual, found: list[int]) -> tuple[list[int], float, bool]:
    """Branch and bound over what is in and what is not, the items that are surest by their dual value first."""
    items, capacity = problem.items, problem.capacity
    order = sorted(problem.pinned) + sorted(set(range(len(items))) - problem.pinned, key=lambda i: -abs(dual.value[i]))
    positive = np.maximum(dual.value[order], 0)
    rest = np.concatenate([np.cumsum(positive[::-1])[::-1], [0.0]])  # what the items from here on are worth at most
    taken, best, best_gain, nodes = np.zeros(problem.steps, np.int64), list(found), problem.gain(found), 0
    chosen: list[int] = []
    complete = True

    def visit(depth: int, worth: float) -> None:
        nonlocal best, best_gain, nodes, complete
        nodes += 1
        if nodes > _NODES:
            complete = False
            return
        if dual.base + worth + rest[depth] <= best_gain * (1 + 1e-9) + 1e-9:
            return
        if depth == len(order):
            gain = problem.gain(chosen)
            if gain > best_gain and place(problem, chosen) is not None:
                best, best_gain = list(chosen), gain
            elif gain > best_gain:
                complete = False  # no places were found for it, which does not prove that there are none
            return
        i = order[depth]
        span = slice(items[i].first, items[i].last + 1)
        choices = [True] if i in problem.pinned else [True, False] if dual.value[i] > 0 else [False, True]
        for into in choices:
            if not into:
                visit(depth + 1, worth)
            elif taken[span].max() + items[i].size <= capacity:
                taken[span] += items[i].size
                chosen.append(i)
                visit(depth + 1, worth + dual.value[i])
                chosen.pop()
                taken[span] -= items[i].size

    visit(0, 0.0)
    return best, best_gain if complete else max(dual.bound, best_gain), complete


# ---- places ----------------------------------------------------------------------------------------------------------


def place(problem: Problem, chosen: Sequence[int]) -> tuple[dict[int, int], int] | None:
    """Offsets of the items that share the arena, and its size; None where they do not fit beside the weights."""
    room = problem.capacity - sum(problem.items[i].size for i in chosen if problem.items[i].fixed)
    sharing = [i for i in chosen if not problem.items[i].fixed]
    best: tuple[dict[int, int], int] | None = None
    items = problem.items
    orders = [
        lambda i: (-items[i].size, items[i].first),
        lambda i: (items[i].first, -items[i].size),
        lambda i: (-items[i].size * (items[i].last - items[i].first + 1),),
        lambda i: (items[i].first - items[i].last, -items[i].size),
    ]
    for order in orders:
        offsets: dict[int, int] = {}
        for i in sorted(sharing, key=order):
            busy = sorted((offsets[j], offsets[j] + items[j].size) for j in offsets if _meet(items[i], items[j]))
            at = 0
            for start, end in busy:
                if at + items[i].size <= start:
                    break
                at = max(at, end)
            offsets[i] = at
        arena = max((offsets[i] + items[i].size for i in sharing), default=0)
        if best is None or arena < best[1]:
            best = offsets, arena
    if best is None or best[1] > room:
        return None
    return best


def _meet(a: Item, b: Item) -> bool:
    return a.first <= b.last and b.first <= a.last


assert ALIGNMENT % 64 == 0  # tensors at offsets are aligned as tensors must be
