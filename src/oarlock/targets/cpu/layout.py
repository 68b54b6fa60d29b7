"""Convolutions and products → kernels of our own on packed weights; what stands between them follows in their layout.

Before: ``conv2d(x, w)`` in NCHW.  After: ``call_tir(convolution, (x in NHWC, packed w))``; elementwise operators, pooling, resizing,
concatenation and the like work in NHWC too, and data is moved back only where an operator needs the model's own layout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax, te, tirx, topi

from ... import compat
from ...kernels import Choices
from ...rules.pointwise import recognise
from ...rules.rewriting import rewrite_functions
from ...runtime.dtypes import numpy_dtype
from . import amx, dots, kernels, onednn, winograd, words, workloads
from .forms import TO_NHWC, Forms, Handler, alike, dims, known_dims
from .kernels import Window
from .machine import Machine
from .narrowing import kept_narrow
from .tiles import L2_BYTES, UNKNOWN_BATCH, UNKNOWN_ROWS, Tile, by_name, depthwise_tiles, product_tiles

DTYPES = ("float32", "float64")  # what our products compute in; other dtypes keep TVM's legalisation

_UNARY = """abs acos acosh asin asinh atan atanh bitwise_not ceil clip cos cosh erf exp floor isfinite isinf isnan log logical_not negative
round rsqrt sigmoid sign sin sinh sqrt square tan tanh trunc astype nn.relu nn.relu6 nn.gelu nn.gelu_tanh nn.silu nn.leakyrelu nn.softplus
nn.selu""".split()
_BROADCAST = """add subtract multiply divide floor_divide power mod floor_mod maximum minimum equal not_equal greater greater_equal less
less_equal logical_and logical_or logical_xor where bitwise_and bitwise_or bitwise_xor""".split()
_REDUCE = "sum mean max min prod".split()


def rewrite_layouts(mod: tvm.IRModule, machine: Machine, choices: Choices) -> tvm.IRModule:
    """Rewrite all functions of ``mod``."""
    rules = _Rules(machine, choices)
    forms = Forms(mod, rules.handlers(), machine.narrow, lambda block: kept_narrow(block, rules.narrow_reads))
    return relax.transform.DeadCodeElimination()(rewrite_functions(forms, mod))


class _Rules:
    """The handlers: each gives the result's forms, or None when the operator stays as it is."""

    def __init__(self, machine: Machine, choices: Choices) -> None:
        self.machine, self.choices = machine, choices

    def handlers(self) -> dict[str, Handler]:
        table: dict[str, Handler] = {f"relax.{n}": self.elementwise for n in _UNARY + _BROADCAST}
        table |= {f"relax.{n}": self.reduce for n in _REDUCE}
        table |= {
            "relax.nn.conv2d": self.conv2d,
            "relax.nn.conv2d_transpose": self.conv2d_transpose,
            "relax.matmul": self.matmul,
            "relax.nn.max_pool2d": self.pool,
            "relax.nn.avg_pool2d": self.pool,
            "relax.nn.adaptive_avg_pool2d": self.pool,
            "relax.image.resize2d": self.pool,
            "relax.concat": self.concat,
            "relax.permute_dims": self.permute,
            "relax.call_tir": self.kernel,
        }
        return table

    # ---- products and convolutions ----------------------------------------------------------------------------------

    def operand_type(self, dtype: str, depth: Any, *, extends: bool = False) -> str:
        """What a product of ``dtype`` over ``depth`` takes its operands as: groups must fill the depth, or nearly (``extends``)."""
        narrow = self.machine.narrow
        if not narrow or dtype != narrow.dtype or not isinstance(depth, int) or not depth:
            return dtype
        group = dots.GROUP[narrow.operand]
        return narrow.operand if depth % group == 0 or (extends and depth >= dots.EXTENDED) else dtype

    def conv_operand(self, dtype: str, shape: Sequence[int], groups: int) -> str:
        """What a convolution with weights of ``shape`` (O, I/groups, KH, KW) takes its data as."""
        channels, depth, *kernel = shape
        if dtype == "int8" and groups > 1:
            return "uint8" if words.takes(shape, groups) else dtype
        if groups > 1 and channels // groups % dots.LANES[-1]:
            return dtype  # no vectors that divide the channels of a group
        # the copy of the input that larger windows are read from has room for channels of zeros
        return self.operand_type(dtype, depth, extends=groups == 1 and kernel != [1, 1])

    def narrow_reads(self, binding: relax.VarBinding) -> list[relax.Expr]:
        """The operands that the handlers below read as the machine's narrow type."""
        call, var = binding.value, binding.var
        name = getattr(call.op, "name", "")
        if name not in ("relax.nn.conv2d", "relax.nn.conv2d_transpose", "relax.matmul") or any(dims(e) is None for e in (*call.args, var)):
            return []
        data, weight = call.args
        dtype, shape = str(data.ty.dtype), known_dims(weight)
        if name == "relax.matmul":
            ours, operand = _ours(data, var, weight if dtype == "int8" else None), self.operand_type(dtype, known_dims(data)[-1])
        elif not _ours(data, var, weight):
            return []
        elif name == "relax.nn.conv2d":
            ours, operand = True, self.conv_operand(dtype, shape, int(call.attrs.groups))
        else:
            ours, operand = True, self.operand_type(dtype, shape[0])
        return [data, weight] if ours and operand != dtype else []

    def _operand(self, f: Forms, value: relax.Expr, form: str, operand: str) -> relax.Expr:
        """``value`` in ``form`` as what a product takes."""
        return f.get(value, form) if operand == str(value.ty.dtype) else f.narrowed(value, form)

    def _strip_tiles(self, operand: str, shape: Sequence[Any], columns: Any, depth: Sequence[Any], macs: int) -> list[Tile]:
        """Candidates in tile registers for results of ``shape`` × ``columns``; sizes that are no ints are symbolic.

        ``shape``: rows, or the images of a convolution, whose rows of places are then made of strips, or are themselves the rows.
        ``depth``: (…, depth, columns) of the weights.
        """
        *_, rows = known = [size if isinstance(size := compat.static(d), int) else None for d in shape]
        *times, along, _ = depth
        if not isinstance(along, int):
            return []
        unit = None
        if len(known) > 1 and rows and None not in known and any(rows % strip == 0 for strip in range(min(rows, 5), amx.ROWS + 1)):
            unit, rows = rows, math.prod(size for size in known if size is not None)
        wide = columns if isinstance(columns, int) else None
        sizes = amx.Sizes(rows, wide, along // dots.GROUP.get(operand, 1), math.prod(times), macs, unit)
        return amx.tiles(sizes, operand, self.machine)

    def _pack(self, weights: np.ndarray, tile: Tile, operand: str) -> relax.Expr:
        narrow = weights.astype(numpy_dtype(operand)) if operand == "bfloat16" else weights
        return compat.constant(kernels.pack_columns(narrow, tile))

    def _unbiased(self, f: Forms, sums: relax.Var, weights: np.ndarray, operand: str) -> relax.Var:
        """The sums of a product (channels last) without what the bias of its data put into them."""
        if operand != "uint8":
            return sums
        extra = dots.BIAS * weights.astype("int32").sum(axis=tuple(range(weights.ndim - 1)))
        return f.emit(relax.op.subtract(sums, compat.constant(extra.astype("int32").reshape((1,) * (len(known_dims(sums)) - 1) + (-1,)))))

    def conv2d(self, f: Forms, var: relax.Var, call: relax.Call) -> dict[str, relax.Expr] | None:
        """NCHW data, constant OIHW weights: pointwise ones become products, one channel a group goes to the depthwise kernel."""
        data, weight = call.args
        a, out, x = call.attrs, known_dims(var), dims(data)
        if not _ours(data, var, weight) or x is None or (str(a.data_layout), str(a.kernel_layout)) != ("NCHW", "OIHW"):
            return None
        w = compat.constant_array(weight)
        o, i, kh, kw = w.shape
        groups = int(a.groups)
        if not isinstance(x[1], int) or 0 in (o, i, kh, kw):
            return None
        if groups > 1 and w.dtype == np.int8 and not words.takes(w.shape, groups):
            return None
        window = Window((kh, kw), _ints(a.strides), _ints(a.padding), _ints(a.dilation))
        if groups == 1 and window.pointwise:
            return {"rows1": self._product(f, data, "rows1", np.ascontiguousarray(w.reshape(o, i).T))}
        if w.dtype == np.int8 and words.applies(w.shape, groups):
            return self._depthwise_words(f, data, w, window, out)
        if groups > 1 and i == 1:
            return self._depthwise(f, data, w, o // x[1], window, out)
        return self._convolution(f, data, w.transpose(2, 3, 1, 0), groups, window, out[3])

    def _convolution(
        self, f: Forms, value: relax.Expr, weights: np.ndarray, groups: int, window: Window, width: Any
    ) -> dict[str, relax.Expr]:
        """``value`` and ``weights`` [KH, KW, I, O] → a form of the result, whose rows have ``width`` places."""
        kh, kw, i, o = weights.shape
        operand = self.conv_operand(str(value.ty.dtype), (o, i, kh, kw), groups)
        x = self._operand(f, value, "nhwc", operand)
        data, dtype = known_dims(x), _sums(weights)
        rows = width if isinstance(width, int) else UNKNOWN_ROWS
        out = window.out(data[1], data[2])
        macs = workloads.work(*out, data[0], kh, kw, i, o)
        stride = data[3] * window.strides[1]
        group = dots.GROUP.get(operand, 1)
        if extra := -i % group:
            weights = np.concatenate([weights, np.zeros((kh, kw, extra, o), weights.dtype)], axis=2)
            i += extra
        padded, depth = any(window.padding) or extra > 0, (kh, kw, i)
        whole = i < self.machine.lanes(dtype)  # rows of few channels are slow to copy
        sizes: dict[str, Any] = {"depth": depth, "macs": macs, "padded": padded, "whole": whole, "group": group}
        tiles = product_tiles(rows, o // groups, self.machine, dtype, stride, **sizes)
        if groups > 1:
            tiles = [t for t in tiles if not t.ragged] or [_tile_of(o // groups, width, self.machine, dtype, group)]
        workload = workloads.convolution("conv2d", operand, data, o, window, groups)
        if groups == 1 and group > 1:
            strips = amx.strips(weights, kw if window.joined else 1, group, padded)
            tiles = self._strip_tiles(operand, (data[0], *out), o, strips.shape, macs) + tiles
        ways = self._ways(tiles, winograd.Job(data[0], *out, i, o), operand, groups, window)
        way = self.choices.pick(workload, onednn.among(ways, self.machine, operand, (*data, *out)))
        if isinstance(way, onednn.Call):
            return {"nhwc": self._by_onednn(f, x, weights, groups, window, way, workload)}
        if isinstance(way, winograd.Winograd):
            packed = self._pack(winograd.transformed(weights, way.m), way.tile, operand)
            return {"nhwc": f.te(lambda x_, w_: winograd.convolution(x_, w_, o, window, way, workload), x, packed, name="conv2d")}
        if way.strip:
            packed = self._pack(strips, way, operand)
            made = f.te(lambda x_, w_: kernels.strip_convolution(x_, w_, o, window, way, workload), x, packed, name="conv2d")
        else:
            packed = self._pack(weights, way, operand)
            made = f.te(lambda x_, w_: kernels.convolution(x_, w_, o, groups, window, way, workload), x, packed, name="conv2d")
        return {"rows1" if len(known_dims(made)) == 2 else "nhwc": self._unbiased(f, made, weights, operand)}

    def _ways(self, tiles: list[Tile], job: winograd.Job, operand: str, groups: int, window: Window) -> dict[str, Tile | winograd.Winograd]:
        """Candidates: the direct kernel in ``tiles``, and Winograd's."""
        direct: list[Tile | winograd.Winograd] = [*tiles]
        if not winograd.applies(operand, job, groups, window):
            return {way.name: way for way in direct}
        others, better = winograd.candidates(job, self.machine)
        # the best of both, then some of the others: the first few are tried before the rest
        heads = [others[0], direct[0]] if better else [direct[0], others[0]]
        return {way.name: way for way in (*heads, *others[1:3], *direct[1:], *others[3:])}

    def _depthwise(self, f: Forms, data: relax.Expr, w: np.ndarray, multiplier: int, window: Window, out: list) -> dict | None:
        channels, dtype = w.shape[0], str(w.dtype)
        x = f.stored(data, "nhwc")
        width = out[3] if isinstance(out[3], int) else None
        macs = workloads.work(*out, *window.kernel)
        # rows are copied once for each row of output that needs them; a copy of everything must stay in the cache
        whole = workloads.work(*known_dims(x)) * w.itemsize <= L2_BYTES or 2 * window.kernel[0] >= 5 * window.strides[0]
        tiles = depthwise_tiles(width, channels, self.machine, dtype, macs, any(window.padding), whole)
        workload = workloads.convolution("depthwise", str(x.ty.dtype), known_dims(x), channels, window, channels // multiplier)
        weights, operand = np.ascontiguousarray(w[:, 0].transpose(1, 2, 0)), str(x.ty.dtype)
        tile = self.choices.pick(workload, onednn.among(by_name(tiles), self.machine, operand, (*known_dims(x), *out)))
        if isinstance(tile, onednn.Call):
            return {"nhwc": self._by_onednn(f, x, weights[:, :, None], channels // multiplier, window, tile, workload)}
        packed = compat.constant(weights)
        return {"nhwc": f.te(lambda x_, w_: kernels.depthwise(x_, w_, multiplier, window, tile, workload), x, packed, name="depthwise")}

    def _depthwise_words(self, f: Forms, data: relax.Expr, w: np.ndarray, window: Window, out: list) -> dict[str, relax.Expr]:
        x = self._operand(f, data, "nhwc", "uint8")
        width = out[3] if isinstance(out[3], int) else None
        macs = workloads.work(*out, *window.kernel) // words.TAPS
        tiles = words.tiles(width, w.shape[0], self.machine, macs)
        workload = workloads.convolution("depthwise", "uint8", known_dims(x), w.shape[0], window, w.shape[0])
        tile = self.choices.pick(workload, by_name(tiles))
        weights = np.ascontiguousarray(w[:, 0].transpose(1, 2, 0))
        packed = compat.constant(words.packed(weights))
        made = f.te(lambda x_, w_: words.depthwise(x_, w_, window, tile, workload), x, packed, name="depthwise")
        return {"nhwc": self._unbiased(f, made, weights, "uint8")}

    def _by_onednn(
        self, f: Forms, x: relax.Expr, weights: np.ndarray, groups: int, window: Window, call: onednn.Call, workload: str
    ) -> relax.Var:
        """``x`` in NHWC by weights [KH, KW, I/groups, O]."""
        plain = compat.constant(weights)
        return f.te(lambda x_, w_: onednn.convolution(x_, w_, groups, window, call, workload), x, plain, name="conv2d")

    def conv2d_transpose(self, f: Forms, var: relax.Var, call: relax.Call) -> dict[str, relax.Expr] | None:
        """As one convolution that makes the stride × stride results of a place as channels, and a shuffle that spreads them."""
        data, weight = call.args
        a, out, x = call.attrs, known_dims(var), dims(data)
        if not _ours(data, var, weight) or x is None or (str(a.data_layout), str(a.kernel_layout)) != ("NCHW", "IOHW"):
            return None
        w = compat.constant_array(weight)
        if not isinstance(x[1], int):
            return None
        i, o, kh, kw = w.shape
        (sh, sw), (top, left, _, _) = _ints(a.strides), _ints(a.padding)
        if int(a.groups) != 1 or _ints(a.dilation) != (1, 1) or 0 in w.shape:
            return None
        th, tw = -(-kh // sh), -(-kw // sw)
        taps = np.zeros((i, o, th * sh, tw * sw), w.dtype)
        taps[:, :, :kh, :kw] = w
        # tap t of phase p is w[p + stride · t], and the convolution runs over taps backwards
        taps = taps.reshape(i, o, th, sh, tw, sw)[:, :, ::-1, :, ::-1].transpose(2, 4, 0, 3, 5, 1).reshape(th, tw, i, sh * sw * o)
        channels = sh * sw * o
        if (th, tw) == (1, 1):
            rows = self._product(f, data, "rows1", np.ascontiguousarray(taps[0, 0]))
            spread = f.reshape(rows, (x[0], x[2], x[3], channels))
        else:
            window = Window((th, tw), (1, 1), (th - 1, tw - 1, th - 1, tw - 1), (1, 1))
            places = window.out(x[2], x[3])
            (made,) = self._convolution(f, data, taps, 1, window, places[1]).values()
            spread = f.reshape(made, (x[0], *places, channels))
        n, _, oh, ow = out

        def shuffle(z: te.Tensor) -> te.Tensor:
            def element(b: Any, y: Any, x_: Any, c: Any) -> Any:
                u, v = y + top, x_ + left
                value = z[b, u // sh, v // sw, (u % sh * sw + v % sw) * o + c]
                inside = te.all(u // sh < z.shape[1], v // sw < z.shape[2])  # output padding may reach past the last place
                return te.if_then_else(inside, value, tirx.const(0, z.dtype))

            return te.compute((n, oh, ow, o), element, name="shuffle")

        return {"nhwc": f.te(shuffle, spread, name="shuffle", fusable=False)}

    def matmul(self, f: Forms, var: relax.Var, call: relax.Call) -> dict[str, relax.Expr] | None:
        """Constant [K, N] weights are packed now; any other second operand is packed when the kernel runs."""
        a, b = call.args
        left, right, out = dims(a), dims(b), known_dims(var)
        if not _ours(a, var, b if str(a.ty.dtype) == "int8" else None) or left is None or right is None or len(left) < 2 or len(right) < 2:
            return None
        if isinstance(b, compat.Constant) and len(right) == 2 and 0 not in right:
            return {"rows-1": self._product(f, a, "rows-1", compat.constant_array(b))}
        return self._batch(f, a, b, out)

    def _product(self, f: Forms, value: relax.Expr, form: str, weights: np.ndarray) -> relax.Expr:
        """``value`` in ``form``, a matrix, by ``weights`` [K, N]."""
        operand = self.operand_type(str(value.ty.dtype), weights.shape[0])
        rows = self._operand(f, value, form, operand)
        m = known_dims(rows)[0]
        columns = weights.shape[1]
        likely = UNKNOWN_BATCH if isinstance(m, tirx.Var) else UNKNOWN_ROWS  # a lone symbol is a batch, a product is pixels or words
        depth, dtype = weights.shape[0], _sums(weights)
        rows_, macs = m if isinstance(m, int) else likely, workloads.work(m, depth, columns)
        tiles = product_tiles(rows_, columns, self.machine, dtype, depth, depth=(depth,), macs=macs, group=dots.GROUP.get(operand, 1))
        workload = workloads.product(operand, m, depth, columns)
        tiles = self._strip_tiles(operand, (m,), columns, (depth, columns), macs) + tiles
        tile = self.choices.pick(workload, onednn.among(by_name(tiles), self.machine, operand, (m, depth, columns)))
        if isinstance(tile, onednn.Call):
            return f.te(lambda a, w: onednn.product(a, w, tile, workload), rows, compat.constant(weights), name="product")
        packed = self._pack(amx.deep(weights, dots.GROUP.get(operand, 1)) if tile.strip else weights, tile, operand)
        made = f.te(lambda a, w: kernels.product(a, w, columns, tile, workload), rows, packed, name="product")
        return self._unbiased(f, made, weights, operand)

    def _batch(self, f: Forms, a: relax.Expr, b: relax.Expr, out: list) -> dict[str, relax.Expr] | None:
        left, right = known_dims(a), known_dims(b)
        if str(a.ty.dtype) == "int8":
            return None
        m, n = out[-2:]
        batch = out[:-2]
        transposed = False
        if (swapped := _swapped(f, b)) is not None:
            b, right, transposed = swapped, [*right[:-2], right[-1], right[-2]], True
        if isinstance(m, int) and m < 4 or len(left) > len(out) or 0 in out or 0 in left:
            return None  # too few rows to earn packing
        if not alike(left[:-2], batch):
            return None
        alone = all(isinstance(d, int) and d == 1 for d in right[:-2])
        if not alone and not alike(right[:-2], batch):
            return None
        dtype, rows, columns = str(a.ty.dtype), m if isinstance(m, int) else UNKNOWN_ROWS, n if isinstance(n, int) else UNKNOWN_ROWS
        depth, macs = (left[-1],) if isinstance(left[-1], int) else (workloads.UNKNOWN, 1), workloads.work(*out, left[-1])
        operand = self.operand_type(dtype, left[-1])
        tiles = product_tiles(rows, columns, self.machine, dtype, depth=depth, macs=macs, group=dots.GROUP.get(operand, 1))
        tiles = self._strip_tiles(operand, (m,), n, (left[-1], n), macs) + tiles
        workload = workloads.batch_product(operand, left, right, transposed)
        tile = self.choices.pick(workload, by_name(tiles))
        x, y = self._operand(f, a, "plain", operand), self._operand(f, b, "plain", operand)
        return {"plain": f.te(lambda p, q: kernels.batch_product(p, q, tile, transposed, workload), x, y, name="batch_product")}

    # ---- what follows ----------------------------------------------------------------------------------------------

    def elementwise(self, f: Forms, var: relax.Var, call: relax.Call) -> dict[str, relax.Expr] | None:
        """In the form of the first operand that is as big as the result and there in a form of ours."""
        out = known_dims(var)
        tensors = [isinstance(a.ty, relax.TensorType) for a in call.args]
        whole = [a for a, tensor in zip(call.args, tensors, strict=True) if tensor and alike(dims(a), out)]
        for form in f.preferred(whole):
            operands = [f.operand(a, form, out) if tensor else a for a, tensor in zip(call.args, tensors, strict=True)]
            if all(o is not None for o in operands):
                made = self._widened_add(f, call, operands)
                return {form: f.emit(relax.Call(call.op, operands, call.attrs, call.ty_args)) if made is None else made}
        return None

    def _widened_add(self, f: Forms, call: relax.Call, operands: list[relax.Expr]) -> relax.Var | None:
        """The sum of two tensors of a shape, one of which is a widened narrow one, as one operator; None for any other call.

        Two operators may be fused apart: the widening with what makes the narrow tensor, which is then written wide.
        """
        if call.op.name != "relax.add" or str(call.ty.dtype) != "float32" or not all(isinstance(o, relax.Var) for o in operands):
            return None
        narrow = [f.widened.get(o) for o in operands]
        if narrow.count(None) != 1 or not alike(*map(known_dims, operands)):
            return None
        read = [o if n is None else n for n, o in zip(narrow, operands, strict=True)]

        def add(a: te.Tensor, b: te.Tensor) -> te.Tensor:
            return te.compute(a.shape, lambda *i: dots.wide(a(*i)) + dots.wide(b(*i)), name="add")

        return f.te(add, *read, name="add", fusable=False)

    def kernel(self, f: Forms, var: relax.Var, call: relax.Call) -> dict[str, relax.Expr] | None:
        """Kernels of the importer's: pointwise ones like elementwise operators; others that keep channels apart in NHWC."""
        out = known_dims(var)
        if not isinstance(call.args[1], relax.Tuple) or not isinstance(var.ty, relax.TensorType):
            return None
        operands = [a for a in call.args[1].fields if isinstance(a.ty, relax.TensorType)]
        sizes = [a for a in call.args[1].fields if not isinstance(a.ty, relax.TensorType)]
        if len(call.args) > 2:
            sizes += list(call.args[2].values)
        if not f.preferred(operands) or (made := recognise(f.kernels[call.args[0]])) is None or len(made.inputs) != len(operands):
            return None
        name = call.args[0].name_hint
        whole = [a for a in operands if alike(dims(a), out)]
        for form in f.preferred(whole) if made.pointwise else ():
            moved = [f.operand(a, form, out) for a in operands]
            if all(o is not None for o in moved):
                # the shape is taken from an operand: so it is spelled as theirs are
                at = next(i for i, a in enumerate(operands) if a.same_as(whole[0]))
                return {form: f.te(lambda *t, at=at: made.broadcast(t[at].shape, t, name), *moved, name=name, fusable=False)}
        last = [f.has(a, "nhwc") and len(dims(a) or []) == 4 for a in operands]
        if not any(last) or not made.keeps_channels():
            return None
        shape = [out[i] for i in TO_NHWC]
        moved = [f.get(a, "nhwc" if m else "plain") for a, m in zip(operands, last, strict=True)]

        def channels_last(shape: list, sizes: list, *tensors: te.Tensor) -> te.Tensor:
            return made.channels_last(shape, tensors, last, sizes, name)

        # sizes go as arguments: what a kernel uses of them need not stand in a shape
        return {"nhwc": f.te(channels_last, shape, sizes, *moved, name=name, fusable=False)}

    def pool(self, f: Forms, var: relax.Var, call: relax.Call) -> dict[str, relax.Expr] | None:
        """Operators with a layout attribute: the same in NHWC."""
        data, *rest = call.args
        layout = str(call.attrs.layout)
        if layout != "NCHW" or not f.has(data, "nhwc"):
            return None
        pooled = f.is_narrow(data) and call.op.name == "relax.nn.max_pool2d"
        if pooled and (f.is_narrow(var) or str(data.ty.dtype) == "float32"):  # bytes are biased: they stay bytes
            return {"nhwc": f.te(lambda x: _max_pool(x, call.attrs), f.stored(data, "nhwc"), name="max_pool2d")}
        attrs = compat.with_attributes(call.attrs, layout="NHWC", out_layout="NHWC")
        return {"nhwc": f.emit(relax.Call(call.op, [f.get(data, "nhwc"), *rest], attrs, call.ty_args))}

    def reduce(self, f: Forms, var: relax.Var, call: relax.Call) -> dict[str, relax.Expr] | None:
        """Reductions that keep the rank, or that take away exactly height and width (then channels are last in both layouts)."""
        data = call.args[0]
        if not f.has(data, "nhwc") or len(dims(data) or []) != 4 or call.attrs.axis is None:
            return None
        axes = sorted(int(x) % 4 for x in call.attrs.axis)
        keep = bool(call.attrs.keepdims)
        if not keep and axes != [2, 3]:
            return None
        op = getattr(relax.op, str(call.op.name).removeprefix("relax."))
        made = f.emit(op(f.get(data, "nhwc"), [TO_NHWC.index(x) for x in axes], keep))
        return {"nhwc" if keep else "plain": made}

    def concat(self, f: Forms, var: relax.Var, call: relax.Call) -> dict[str, relax.Expr] | None:
        """In NHWC when at least half of the parts are there."""
        parts = call.args[0]
        if not isinstance(parts, relax.Tuple) or len(known_dims(var)) != 4 or call.attrs.axis is None:
            return None
        if 2 * sum(f.has(p, "nhwc") for p in parts.fields) < len(parts.fields):
            return None
        axis = TO_NHWC.index(int(call.attrs.axis) % 4)
        return {"nhwc": f.emit(relax.op.concat([f.get(p, "nhwc") for p in parts.fields], axis))}

    def permute(self, f: Forms, var: relax.Var, call: relax.Call) -> dict[str, relax.Expr] | None:
        """The model's own move of channels to the end is what is there already."""
        data = call.args[0]
        axes = call.attrs.axes
        if len(known_dims(var)) != 4 or axes is None or not f.has(data, "nhwc") or tuple(int(x) % 4 for x in axes) != TO_NHWC:
            return None
        return {"plain": f.get(data, "nhwc")}


def _max_pool(x: te.Tensor, attrs: Any) -> te.Tensor:
    """Max pooling of a tensor [N, H, W, C] of a narrow type: bfloat16 as floats, which fuse with what follows; bytes as they are."""
    wide = te.compute(x.shape, lambda *i: dots.wide(x(*i)), name="wide") if x.dtype == "bfloat16" else x
    window = attrs.pool_size, attrs.strides, attrs.dilation, attrs.padding
    return topi.nn.pool2d(wide, *window, "max", ceil_mode=bool(attrs.ceil_mode), layout="NHWC")


def _sums(weights: np.ndarray) -> str:
    """A type as wide as the sums of a product with ``weights``, for tiles to be chosen by."""
    return "float32" if weights.dtype == np.int8 else str(weights.dtype)


def _ours(data: relax.Expr, out: relax.Var, weight: relax.Expr | None = None) -> bool:
    dtype = str(data.ty.dtype)
    if dtype == "int8":
        return str(out.ty.dtype) == "int32" and isinstance(weight, compat.Constant) and str(weight.ty.dtype) == dtype
    if dtype not in DTYPES or str(out.ty.dtype) != dtype:
        return False
    return weight is None or isinstance(weight, compat.Constant) and str(weight.ty.dtype) == dtype


def _ints(values: Any) -> Any:
    return tuple(int(v) for v in values)


def _tile_of(columns: int, width: Any, machine: Machine, dtype: str, group: int) -> Tile:
    """A tile whose width divides ``columns``, whatever it is: a tile may not reach into the next group."""
    full = machine.lanes(dtype)
    sizes = range(min(full, columns), 0, -1) if group == 1 else dots.LANES
    lanes = next(n for n in sizes if columns % n == 0)
    return Tile(min(width, 8) if isinstance(width, int) else 8, lanes, lanes, False, group=group)


def _swapped(f: Forms, value: relax.Expr) -> relax.Expr | None:
    """What ``value`` is the transpose (of the last two dims) of."""
    bound = f.values.get(value) if isinstance(value, relax.Var) else None
    if not isinstance(bound, relax.Call) or getattr(bound.op, "name", "") != "relax.permute_dims":
        return None
    rank = len(dims(value) or [])
    axes = bound.attrs.axes
    order = [rank - 1 - i for i in range(rank)] if axes is None else [int(x) % rank for x in axes]
    if order != [*range(rank - 2), rank - 1, rank - 2]:
        return None
    return bound.args[0]
