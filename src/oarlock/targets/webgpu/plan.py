"""The plan of a model on WebGPU, with its shaders: the file that the runtime loads (web/src/types.ts: GpuPlan).

    weights          bytes of the region of weights
    buffers          bytes of each buffer for what kernels make
    needs, limits    the device's features and limits that are needed beyond WebGPU's least
    shaders          [{code, access}]: WGSL with the entry point "main"; how each binding is accessed, r (read) or w (read and write)
    kernels          [{name, schedule?, workload?, candidate?, tensors?, results?, bytes, launches, spaces?}], by number:
                     the bytes of each argument and work space, and [shader, [argument or −1 − work space, …], [x, y, z]] of each dispatch
    spaces           the number of the first buffer that is a work space
    steps            [{kernel, places}]; places: [region, offset, region, offset, …]; a region is one of:
                     0 the weights, 1 … the inputs, the outputs, the buffers

Tensors that live at one time lie in different buffers: WebGPU lets no dispatch read and write one buffer through two bindings.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tvm

from ... import compat_webgpu
from ...rules.weights import Weights
from ..cpu.aot import Dynamic, Memory, NotStatic, Value, callees, lay_out
from ..web.plan import describe_kernels, facts_of
from .narrow import NotWgsl, narrowed, stored

PLAN = "oarlock.webgpu.plan"
VERSION = 1
ALIGNMENT = 256  # of a binding's offset: WebGPU's least minStorageBufferOffsetAlignment
LEAST = {"maxStorageBuffersPerShaderStage": 8, "maxStorageBufferBindingSize": 128 << 20, "maxBufferSize": 256 << 20}  # of every device
MOST_BINDINGS = 10  # what most devices have; more than the least is asked for
MOST_BLOCKS = 65535  # of a dispatch, along an axis
_BINDING = re.compile(r"@group\(0\) @binding\((\d+)\) var<storage, (read|read_write)> (\w+)")
_POD = re.compile(r"struct PODArgs \{\s*packGridDimX: u32\s*\}\s*@group\(0\) @binding\(\d+\) var<uniform> podArgs : PODArgs;\s*")
_CALL = re.compile(r"\b([a-z_]\w*)\(")
# What shaders may call: WGSL's own functions, and its words before a parenthesis.
_KNOWN = frozenset(
    """abs acos acosh asin asinh atan atan2 atanh bitcast ceil clamp cos cosh exp exp2 f16 f32 floor fma i32 inverseSqrt log log2 max
    min pow round select sign sin sinh sqrt tan tanh trunc u32 workgroupBarrier main workgroup_size builtin group binding if for
    while return countOneBits countLeadingZeros array""".split()
)
_INFINITE = {
    compat_webgpu.INFINITY: "infinity",
    compat_webgpu.NEGATIVE_INFINITY: "negative_infinity",
    compat_webgpu.NAN: "not_a_number",
}


def plan_of(mod: tvm.IRModule, weights: Weights, describe: bool = False) -> tvm.IRModule:
    """The kernels of ``main``, called k0, k1, …, with the plan (without what their launches are) as the module's attribute PLAN.

    ``weights`` becomes one array of bytes, in the types of WGSL.  ``describe``: each kernel's tensors are in the plan too.
    Raises NotStatic, NotWgsl.
    """
    weights.arrays = [_stored(a) for a in weights.arrays]
    layout = lay_out(mod, weights, Memory(ALIGNMENT, _bytes, _stored, _buffers))
    if layout.symbols:
        raise Dynamic(f"sizes that the inputs decide ({', '.join(sorted(v.name for v in layout.symbols))})")
    if any(step.sizes for step in layout.steps):
        raise NotStatic("kernels that take more than tensors")
    regions = ["weights", *(f"input {p.name}" for p in layout.inputs), *(f"output {i}" for i in range(len(layout.outputs)))]
    regions += [f"buffer {n}" for n in range(len(layout.arena))]
    number = {name: n for n, name in enumerate(regions)}
    exports: dict[Any, int] = {}
    kernels: list[dict[str, Any]] = []
    functions: dict[tvm.ir.GlobalVar, Any] = {}
    sizes = {(s.kernel, s.upon): [int(v.size) for v in s.arguments] for s in layout.steps}
    for key, (callee, function) in callees(mod, layout.steps).items():
        exports[key] = len(kernels)
        functions[tvm.ir.GlobalVar(f"k{len(kernels)}")] = function
        kernels.append({"name": callee.name_hint, "bytes": sizes[key]} | facts_of(function))
    steps = [
        {
            "kernel": exports[step.kernel, step.upon],
            "places": [x for v in step.arguments for x in (number[v.region], int(v.offset))],
        }
        for step in layout.steps
    ]
    if describe:
        describe_kernels(kernels, layout, {exports[key]: function for key, (_, function) in callees(mod, layout.steps).items()})
    plan = {"version": VERSION, "weights": weights.arrays[0].nbytes, "buffers": layout.arena, "kernels": kernels, "steps": steps}
    return tvm.IRModule(functions).with_attr(PLAN, json.dumps(plan))


def _bytes(dtype: str) -> int:
    return tvm.DataType(stored(dtype)).bits // 8


def _stored(array: np.ndarray) -> np.ndarray:
    """A constant as a GPU's memory has it."""
    wanted = np.dtype(stored(str(array.dtype)))
    if array.dtype == np.int64:
        ends, least = np.iinfo(np.int64), np.iinfo(np.int32)
        inside = (array >= least.min) & (array <= least.max) | (array == ends.min) | (array == ends.max)
        if not inside.all():
            raise NotWgsl(f"a constant of {array[~inside].flat[0]}: WGSL has no integers of 64 bits")
        array = np.clip(array, least.min, least.max)
    return array.astype(wanted)


def _buffers(values: list[Value]) -> list[int]:
    """Give every value a buffer of its own while it lives; returns the bytes of each.

    The biggest first, each in the smallest buffer that is free during its life.
    """
    held: list[list[Value]] = []
    for value in sorted(values, key=lambda v: (-v.size, v.first)):
        free = [n for n, there in enumerate(held) if all(o.last < value.first or value.last < o.first for o in there)]
        at = free[-1] if free else len(held)
        if not free:
            held.append([])
        held[at].append(value)
        value.region, value.offset = f"buffer {at}", 0
    return [_rounded(there[0].size) for there in held]


def _rounded(size: int) -> int:
    return max(-(-size // 16) * 16, 16)


@dataclass
class Shaders:
    """The shaders of a model's kernels; those that are alike are one."""

    target: tvm.target.Target
    threads: int
    shared: int
    shaders: list[dict[str, str]] = field(default_factory=list)
    spaces: list[int] = field(default_factory=list)
    _index: dict[str, int] = field(default_factory=dict)

    def kernel(self, name: str, function: tvm.tirx.PrimFunc) -> dict[str, Any]:
        """What the runtime launches for a kernel.  Raises NotWgsl."""
        try:
            launches, spaces = compat_webgpu.launches(name, function, self.target)
        except ValueError as reason:
            raise NotWgsl(str(reason)) from reason
        for n, (dtype, count) in enumerate(spaces):
            size = _rounded(count * _bytes(dtype))
            self.spaces[n:] = [max(size, *self.spaces[n : n + 1], 0), *self.spaces[n + 1 :]]
        sizes = [count * _bytes(dtype) for dtype, count in spaces]
        return {"launches": [self._launch(launch) for launch in launches], **({"spaces": sizes} if sizes else {})}

    def facts(self, plan: dict[str, Any]) -> dict[str, Any]:
        """The shaders, and what of a device they and the plan's memory need."""
        buffers = [plan["weights"], *plan["buffers"], *self.spaces, *(n for k in plan["kernels"] for n in k["bytes"])]
        needed = {
            "maxStorageBuffersPerShaderStage": max((len(s["access"]) for s in self.shaders), default=0),
            "maxStorageBufferBindingSize": max((n for k in plan["kernels"] for n in [*k["bytes"], *k.get("spaces", [])]), default=0),
            "maxBufferSize": max(buffers),
        }
        limits = {name: value for name, value in needed.items() if value > LEAST[name]}
        needs = ["shader-f16"] if any("f16" in s["code"] for s in self.shaders) else []
        return {"limits": limits, "needs": needs, "spaces": self.spaces, "shaders": self.shaders}

    def _launch(self, launch: compat_webgpu.Launch) -> list[Any]:
        extents = dict(launch.extents)
        threads = [extents.get(f"threadIdx.{axis}", 1) for axis in "xyz"]
        if threads[0] * threads[1] * threads[2] > self.threads or threads[2] > 64:
            raise NotWgsl(f"blocks of {' × '.join(map(str, threads))} threads; WebGPU has {self.threads} at most")
        function = narrowed(launch.function)
        if (shared := compat_webgpu.shared_bytes(function)) > self.shared:
            raise NotWgsl(f"blocks that share {shared} bytes of memory; WebGPU has {self.shared}")
        if len(launch.arguments) > MOST_BINDINGS:
            raise NotWgsl(f"a kernel of {len(launch.arguments)} tensors; WebGPU binds {MOST_BINDINGS} at most")
        x, y, z = (extents.get(f"blockIdx.{axis}", 1) for axis in "xyz")
        if z != 1 or y > MOST_BLOCKS:
            raise NotWgsl(f"a grid of {x} × {y} × {z} blocks, which cannot be laid out")
        code, access = self._code(function, x)
        times = -(-x // MOST_BLOCKS)
        grid = [-(-x // times), y, times]
        key = f"{access} {code}"
        if key not in self._index:
            self._index[key] = len(self.shaders)
            self.shaders.append({"code": code, "access": access})
        return [self._index[key], list(launch.arguments), grid]

    def _code(self, function: tvm.tirx.PrimFunc, blocks: int) -> tuple[str, str]:
        """The WGSL of a device function, and how its bindings are accessed."""
        try:
            text = compat_webgpu.wgsl(function, self.target)
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise NotWgsl(f"what TVM cannot write as WGSL ({lines[-1] if lines else error!r})") from error
        name = str(function.attrs["global_symbol"])
        if missing := sorted(set(_CALL.findall(text)) - _KNOWN - {name}):
            raise NotWgsl(f"functions that WGSL does not have ({', '.join(missing)})")
        access = "".join("w" if mode == "read_write" else "r" for _, mode, _ in _BINDING.findall(text))
        text = _POD.sub("", text).replace("podArgs.packGridDimX", f"{blocks - 1}u").replace(f"fn {name}(", "fn main(")
        text = text.replace("-2147483648i", "i32(-2147483648)")  # else it is 0 − 2147483648, of which there is none
        for number, name in _INFINITE.items():
            if (constant := f"bitcast<f32>({number}i)") in text:
                # not a constant to the compiler, which refuses what is not finite
                text = f"var<private> {name} : i32 = {number}i;\n" + text.replace(constant, f"bitcast<f32>({name})")
        return "\n".join(line for line in text.splitlines() if line.strip() and not line.startswith("//")) + "\n", access
