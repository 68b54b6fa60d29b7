"""Convolutions as products: out[image, channel, place] = Σ weights[channel, tap] · window[image, place, tap].

TVM's GPU rules know products, which they tile through shared memory, and no convolutions.  The windows never exist in memory: the
rule for products computes each tile of them as it is loaded (an implicit product).  Convolutions of groups stay as they are; one thread
an element is what a depthwise convolution needs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax, te, tirx

from ... import compat, compat_gpu


def convolution(bb: relax.BlockBuilder, call: tvm.ir.Call, *, sums_first: bool = False) -> relax.Expr:
    """A conv2d of one group, NCHW by OIHW, as a kernel that the rule for products takes; any other as it is.

    ``sums_first``: weights and windows are read as (tap, channel) and (tap, place), for a schedule that keeps its tiles so;
    not for a single place, where a sum runs along its weights.
    """
    data, weight = call.args
    a = call.attrs
    layouts = (str(a.data_layout), str(a.kernel_layout), str(a.out_layout))
    shape = weight.ty.shape
    if layouts not in (("NCHW", "OIHW", "NCHW"), ("NCHW", "OIHW", "")) or int(a.groups) != 1 or data.ty.shape is None or shape is None:
        return call
    sizes = [d for d in map(compat.static, shape) if isinstance(d, int) and d > 0]
    if len(sizes) != 4:
        return call
    out_channels, channels, kh, kw = sizes
    (sh, sw), (dh, dw), (top, left, bottom, right) = ([int(v) for v in values] for values in (a.strides, a.dilation, a.padding))
    dtype = str(data.ty.dtype) if a.out_dtype is None or str(a.out_dtype) in ("", "void") else str(a.out_dtype)
    taps = channels * kh * kw
    known: list[Any] = [compat.static(d) for d in data.ty.shape][2:]
    sums_first = sums_first and known != [1, 1]  # of one place there are as many sums as channels: each is shared, along its weights
    plain = (kh, kw, sh, sw) == (1, 1, 1, 1) and not any((top, left, bottom, right)) and all(isinstance(d, int) for d in known)

    def compute(x: te.Tensor, w: te.Tensor) -> te.Tensor:
        n = x.shape[0]
        h, width = known if plain else x.shape[2:]
        rows = tirx.floordiv(h + top + bottom - dh * (kh - 1) - 1, sh) + 1
        columns = tirx.floordiv(width + left + right - dw * (kw - 1) - 1, sw) + 1
        padded = any((top, left, bottom, right))

        def window(b: Any, place: Any, tap: Any) -> Any:
            if sums_first:  # neighbours in a sum are channels of one place: where it lies in the window is the same for many
                c, at = tap % channels, tap // channels
                ky, kx = at // kw, at - at // kw * kw  # at % kw, which TVM would make a rest of the whole tap
            else:
                c, ky, kx = tap // (kh * kw), tap // kw % kh, tap % kw
            y, z = place // columns * sh + ky * dh - top, place % columns * sw + kx * dw - left
            if not padded:
                return x[b, c, y, z]
            return te.if_then_else(te.all(y >= 0, y < h, z >= 0, z < width), x[b, c, y, z], tirx.const(0, x.dtype))

        k = te.reduce_axis((0, taps), name="k")
        if not sums_first:
            windows = te.compute((n, rows * columns, taps), window, name="windows")
        elif plain:  # the tensor itself, whose places were made one axis
            windows = x
        else:
            windows = te.compute((n, taps, rows * columns), lambda b, tap, place: window(b, place, tap), name="windows")

        def term(b: Any, o: Any, p: Any) -> Any:
            first, second = (w[k, o], windows[b, k, p]) if sums_first else (w[o, k], windows[b, p, k])
            return te.sum(first.astype(dtype) * second.astype(dtype), axis=k)

        product = te.compute((n, out_channels, rows * columns), term, name="product")
        return te.compute((n, out_channels, rows, columns), lambda b, o, y, z: product[b, o, y * columns + z], name="convolution")

    if isinstance(weight, compat.Constant):
        array = compat.constant_array(weight)
        array = array.transpose(2, 3, 1, 0).reshape(taps, out_channels) if sums_first else array.reshape(out_channels, taps)
        weight = compat.constant(np.ascontiguousarray(array))
    else:
        weight = bb.emit(relax.op.permute_dims(weight, [2, 3, 1, 0])) if sums_first else weight
        weight = bb.emit(relax.op.reshape(weight, (taps, out_channels) if sums_first else (out_channels, taps)))
    if sums_first and plain:
        data = bb.emit(relax.op.reshape(data, (data.ty.shape[0], channels, known[0] * known[1])))
    attrs = {"op_pattern": compat_gpu.OUT_ELEMENTWISE_FUSABLE}
    return bb.call_te(compute, data, weight, primfunc_name_hint="convolution", primfunc_attrs=attrs)
