"""The file that pins tensors and layers to a memory, as YAML:

    l3:
      layers: ["/Sequential_1/*"]        # what these operations give, and the weights that only their kernels read
      tensors: ["/Linear/linear_0:w"]    # names as `oarlock inspect --memory` shows them
    gddr:
      tensors: ["/ReLU_3/relu_3"]

Patterns are those of file names: * ? [abc].  What no line names is the planner's to choose.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from oarlock.errors import TargetError

from .planner import GAP, Problem, Wishes, usage
from .planner import place as places
from .program import DYNAMIC, HOST, INPUT, OUTPUT, WEIGHT, Program

PLACES, KINDS = ("l3", "gddr"), ("layers", "tensors")
Config = dict[str, dict[str, list[str]]]
_EXAMPLE = 'write for example  l3: {layers: ["/Conv2D_0/*"]}  and  gddr: {tensors: ["/ReLU_3/relu_3"]}'


def read_config(given: str | Mapping[str, Any], where: str = "option l3_config") -> Config:
    """The content of a file (or what it holds, already read), checked; {} for "".  TargetError says what is wrong with it, and where."""
    if not given:
        return {}
    held: Any = given
    if isinstance(given, str):
        held, where = _load(given), given
    if not isinstance(held, Mapping):
        raise TargetError(f"the file holds a {type(held).__name__}, not places", where=where, todo=_EXAMPLE)
    config: Config = {}
    for place, lists in held.items():
        if place not in PLACES:
            raise TargetError(f"{place!r} is no memory", where=where, todo=f"use one of: {', '.join(PLACES)}")
        if not isinstance(lists, Mapping):
            raise TargetError(f"{place} holds a {type(lists).__name__}, not layers and tensors", where=where, todo=_EXAMPLE)
        for kind, patterns in lists.items():
            if kind not in KINDS:
                raise TargetError(f"{kind!r} is nothing that can be pinned", where=f"{where}: {place}", todo=f"use {' or '.join(KINDS)}")
            patterns = [patterns] if isinstance(patterns, str) else patterns
            if not isinstance(patterns, list) or not all(isinstance(p, str) and p for p in patterns):
                raise TargetError("names are needed, as a list of texts", where=f"{where}: {place}.{kind}", todo=_EXAMPLE)
            config.setdefault(place, {})[kind] = list(patterns)
    return config


def _load(path: str) -> Any:
    import yaml  # other options do without

    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise TargetError(f"the file cannot be read: {reason}", where=f"option l3_config={path}") from error
    try:
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise TargetError(f"the file is no YAML: {getattr(error, 'problem', None) or error}", where=f"{path}{line}") from error


def wishes_of(config: Config, program: Program, weights: bool, where: str = "option l3_config") -> Wishes:
    """What the file asks of this program.  TargetError for a name that nothing has, and for what cannot be."""
    into: dict[str, dict[int, str]] = {place: {} for place in PLACES}
    for place, lists in config.items():
        for kind, patterns in lists.items():
            for pattern in patterns:
                line = f"{where}: {place}.{kind}: {pattern!r}"
                found = [t for t in range(len(program.tensors)) if _matches(program, t, kind, pattern)]
                if not found:
                    raise TargetError(f"no {kind[:-1]} of the model has a name like {pattern!r}", where=line, todo=_near(program, pattern))
                into[place] |= {t: line for t in found}
    for t in into["l3"].keys() & into["gddr"].keys():
        raise TargetError(f"{program.tensors[t].name} is pinned to both memories", where=into["l3"][t], todo=f"see also {into['gddr'][t]}")
    for t, line in into["l3"].items():
        tensor = program.tensors[t]
        if why := _IMPOSSIBLE.get(tensor.kind) or ("" if tensor.first >= 0 else "no kernel touches it"):
            raise TargetError(f"{tensor.name} cannot be in L3: {why}", where=line, todo="pin what lies between kernels, or weights")
    return Wishes(into["l3"], into["gddr"], weights)


def check_room(problem: Problem, program: Program, wishes: Wishes) -> None:
    """TargetError where what is pinned to L3 does not fit there at some moment."""
    pinned = sorted(problem.pinned)
    taken = usage(problem, pinned)
    at = int(taken.argmax())
    if taken[at] <= problem.capacity and places(problem, pinned) is not None:
        return
    there = [program.tensors[problem.items[i].tensor] for i in pinned if problem.items[i].first <= at <= problem.items[i].last]
    there.sort(key=lambda tensor: -tensor.size)
    where = program.kernels[at].layer if at < len(program.kernels) else "the end of a run"
    raise TargetError(
        f"tensors pinned to L3 take {int(taken[at]):,} bytes at {where}, and there are {problem.capacity + GAP:,}",
        where=next(iter(wishes.into_l3.values())),
        todo=f"leave some to the planner; the largest are {', '.join(f'{t.name} ({t.bytes:,} bytes)' for t in there[:4])}",
    )


def start_of(facts: Mapping[str, Any]) -> str:
    """A plan (facts.py) as such a file, to be edited: what lies in L3 is pinned there, and what could lie there is in comments."""
    made = [(_quoted(row[0]), row) for row in facts["tensors"]]
    movable = [(name, row) for name, row in made if row[1] not in _IMPOSSIBLE and row[3] >= 0]
    taken = facts["arena"] + facts["weights"]
    inside = [(name, row) for name, row in movable if row[6] is not None]
    outside = [(name, row) for name, row in movable if row[6] is None]

    def lines(rows: list[tuple[str, Any]], head: str) -> list[str]:
        ordered = sorted(rows, key=lambda item: -item[1][5])  # what moves most bytes first
        wide = max((len(name) for name, _ in rows), default=0)
        return [
            f"{head}{name:{wide}}  # {row[2]:,} bytes, moved a run: {row[5]:,}" + (f"; {row[7]}" if row[7] else "") for name, row in ordered
        ]

    return "\n".join(
        [
            f"# What of the model lives where: {taken:,} of {facts['capacity']:,} bytes of the L3 of the chip {facts['chip'].upper()}.",
            "# This is the plan that was made; what no line names is the planner's to choose.  Edit it, and try what it gives:",
            "#     oarlock inspect MODEL --target xpu/" + facts["chip"] + " --option l3_config=THIS_FILE --memory plan.html",
            "# Names may have * ? [abc]; `layers` in place of `tensors` takes names of operations, their results and own weights.",
            "l3:",
            *(["  tensors:", *lines(inside, "    - ")] if inside else ["  tensors: []"]),
            "gddr:",
            "  tensors: []",
            "# what is in GDDR now and could be pinned to L3, instead of others",
            *lines(outside, "#    - "),
            "",
        ]
    )


def _quoted(name: str) -> str:
    """A name as a YAML text that matches itself alone."""
    plain = "".join(f"[{c}]" if c in "*?[" else c for c in name)
    return json.dumps(plain, ensure_ascii=False)


_IMPOSSIBLE = {
    INPUT: "it is an input of the model",
    OUTPUT: "it is a result of the model, and outlives the run",
    DYNAMIC: "its size is known at run time only, or a loop, a branch or the host uses it",
    HOST: "it lives in the host's memory",
}


def _matches(program: Program, t: int, kind: str, pattern: str) -> bool:
    tensor = program.tensors[t]
    if kind == "tensors":
        return fnmatchcase(tensor.name, pattern)
    if not tensor.layers or (tensor.kind != WEIGHT and tensor.kind in _IMPOSSIBLE):
        return False  # a layer's result that is the model's is not what a pattern of layers means
    return all(fnmatchcase(layer, pattern) for layer in tensor.layers)


def _near(program: Program, pattern: str) -> str:
    names = list(dict.fromkeys([t.name for t in program.tensors] + [layer for t in program.tensors for layer in t.layers]))
    near = difflib.get_close_matches(pattern, names, 5, 0.3) or names[:5]
    return f"names are, for example: {', '.join(near)}"
