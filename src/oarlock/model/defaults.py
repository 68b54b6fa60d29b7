"""What a PIR file may leave out: names of operands, attributes that have defaults, and what each schema version added.

``signatures.json`` lists the operators that Paddle generates from its yaml files; the ones that Paddle writes by hand
are in ``HAND_WRITTEN``.  ``ADDED`` is what must be put into a file of an older schema; the rest of Paddle's upgrades
between versions change only how wide a number is stored, which Python's numbers do not notice.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

LATEST_VERSION = 4
"""Schema version of Paddle 3.3; 3.0 wrote 1, 3.1 wrote 2, 3.2 wrote 3.  0 is what a development build writes."""


@dataclass(frozen=True)
class Signature:
    """Names in Paddle's order; operands and results past them have positions only."""

    operands: tuple[str, ...] = ()
    results: tuple[str, ...] = ("out",)
    defaults: dict[str, Any] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    kinds: dict[str, str] = field(default_factory=dict)
    """How files store attributes: "bool", "i32", "f32", "str", "dtype", …, "i64[]" for a list, "intarray", "scalar"."""
    mutable: dict[str, Any] = field(default_factory=dict)
    """Defaults of operands that are attributes in Paddle's API (sizes, axes, numbers)."""

    def operand(self, index: int) -> str:
        return self.operands[index] if index < len(self.operands) else f"operand_{index}"

    def result(self, index: int, count: int) -> str:
        if index < len(self.results):
            return self.results[index]
        return "out" if count == 1 else f"result_{index}"


UNKNOWN = Signature(results=())
"""Operators of no known signature (custom ones, builtin.combine, …): their operands and results have positions only."""

HAND_WRITTEN: dict[str, Signature] = {
    "builtin.split": Signature(("x",), ()),
    "builtin.slice": Signature(("x",), ("out",), required=("index",)),
    "pd_op.if": Signature(("cond",), ()),
    "pd_op.while": Signature(("cond",), ()),
    "pd_op.add_n_": Signature(("inputs",)),
    "pd_op.add_n_array": Signature(("inputs",)),
    "pd_op.array_length": Signature(("x",)),
    "pd_op.array_pop": Signature(("input",), ("array_out", "out"), {"index": -1}),
    "pd_op.array_read": Signature(("array", "i")),
    "pd_op.array_to_tensor": Signature(("x",), ("out", "out_index"), {"axis": 0, "use_stack": False}),
    "pd_op.array_write_": Signature(("array", "x", "i")),
    "pd_op.assert": Signature(("cond", "data"), (), {"summarize": -1}),
    "pd_op.assign_array": Signature(("x",)),
    "pd_op.assign_array_": Signature(("x",)),
    "pd_op.assign_out_": Signature(("x", "output")),
    "pd_op.create_array": Signature((), ("out",), {"dtype": "float32"}),
    "pd_op.create_array_like": Signature(("input",), ("out",), {"val": 0.0}),
    "pd_op.expand": Signature(("x", "shape")),
    "pd_op.fetch": Signature(("x",), ("out",), {}, ("name", "col")),
    "pd_op.fused_gemm_epilogue": Signature(
        ("x", "y", "bias"), ("out", "reserve_space"), {"trans_x": False, "trans_y": False, "activation": "none"}
    ),
    "pd_op.has_elements": Signature(("x",)),
    "pd_op.increment": Signature(("x",), ("out",), {"value": 1.0}),
    "pd_op.increment_": Signature(("x",), ("out",), {"value": 1.0}),
    "pd_op.memcpy_d2h_multi_io": Signature(("x",), ("out",), {"dst_place_type": 0}),
    "pd_op.select_input": Signature(("mask",), ("out",)),
    "pd_op.shape_broadcast": Signature(("x", "y")),
    "pd_op.slice_array": Signature(("input", "starts", "ends")),
    "pd_op.slice_array_dense": Signature(("input", "starts")),
    "pd_op.tensor_to_array": Signature(("x", "out_grad"), ("x_grad",), {"axis": 0, "use_stack": False}),
}


ADDED: dict[int, dict[str, dict[str, Any]]] = {
    1: {},
    2: {},
    3: {
        "pd_op.repeat_interleave": {"output_size": -1},
        "pd_op.repeat_interleave_with_tensor_index": {"output_size": -1},
    },
    4: {
        "pd_op.moe_permute": {"using_ue8m0_scale": False, "return_expert_indices": False, "override_buffer_size": -1},
        "pd_op.moe_unpermute": {"using_ue8m0_scale": False, "using_weighted_combine": False},
    },
}
"""Schema version → operator → attributes that a file of this version or an earlier one may lack.

Paddle 3.3.1 adds no operands or results between versions.  Its patch of version v applies to files up to v itself,
because a development build writes v before the release is cut.
"""


def added_since(version: int, name: str) -> dict[str, Any]:
    """Every attribute that ``name`` gained in versions that a file of ``version`` does not know."""
    attrs: dict[str, Any] = {}
    for v in range(version or LATEST_VERSION, LATEST_VERSION + 1):
        attrs |= ADDED.get(v, {}).get(name, {})
    return attrs


@cache
def _signatures() -> dict[str, Signature]:
    text = resources.files(__package__).joinpath("signatures.json").read_text("utf-8")
    out = {}
    for name, entry in json.loads(text)["operators"].items():
        mutable = set(entry.get("mutable", ()))  # these attributes are operands in PIR
        out[name] = Signature(
            tuple(entry["operands"]),
            tuple(entry["results"]),
            {k: v for k, v in entry.get("defaults", {}).items() if k not in mutable},
            tuple(k for k in entry.get("required", ()) if k not in mutable),
            entry.get("kinds", {}),
            {k: v for k, v in entry.get("defaults", {}).items() if k in mutable},
        )
    return out | HAND_WRITTEN


def signature(name: str) -> Signature:
    """The signature of a PIR operator by its full name (``pd_op.conv2d``); UNKNOWN has positions only."""
    return _signatures().get(name, UNKNOWN)


def fill(name: str, attrs: dict[str, Any], version: int = LATEST_VERSION) -> dict[str, Any]:
    """``attrs`` with what the file leaves out: first what the schema added since, then Paddle's own defaults."""
    for key, value in (signature(name).defaults | added_since(version, name)).items():
        if key not in attrs:
            attrs[key] = copy.copy(value)
    return attrs
