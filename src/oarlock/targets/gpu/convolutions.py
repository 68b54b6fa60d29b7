"""Convolutions as products: out[image, channel, place] = Σ weights[channel, tap] · window[image, place, tap].

TVM's GPU rules know products, which they tile through shared memory, and no convolutions.  The windows never exist in memory: the
rule for products computes each tile of them as it is loaded (an implicit product).  Convolutions of groups stay as they are; one thread
an element is what a depthwise convolution needs.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax, te, tirx

from ... import compat, compat_gpu


def convolution(bb: relax.BlockBuilder, call: tvm.ir.Call) -> relax.Expr:
    """A conv2d of one group, NCHW by OIHW, as a kernel that the rule for products takes; any other as it is."""
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

    def compute(x: te.Tensor, w: te.Tensor) -> te.Tensor:
        n, _, h, width = x.shape
        rows = tirx.floordiv(h + top + bottom - dh * (kh - 1) - 1, sh) + 1
        columns = tirx.floordiv(width + left + right - dw * (kw - 1) - 1, sw) + 1
        padded = any((top, left, bottom, right))

        def window(b: Any, place: Any, tap: Any) -> Any:
            c, ky, kx = tap // (kh * kw), tap // kw % kh, tap % kw
            y, z = place // columns * sh + ky * dh - top, place % columns * sw + kx * dw - left
            if not padded:
                return x[b, c, y, z]
            return te.if_then_else(te.all(y >= 0, y < h, z >= 0, z < width), x[b, c, y, z], tirx.const(0, x.dtype))

        windows = te.compute((n, rows * columns, taps), window, name="windows")
        k = te.reduce_axis((0, taps), name="k")
        product = te.compute(
            (n, out_channels, rows * columns),
            lambda b, o, p: te.sum(w[o, k].astype(dtype) * windows[b, p, k].astype(dtype), axis=k),
            name="product",
        )
        return te.compute((n, out_channels, rows, columns), lambda b, o, y, z: product[b, o, y * columns + z], name="convolution")

    flat = (out_channels, taps)
    if isinstance(weight, compat.Constant):
        weight = compat.constant(compat.constant_array(weight).reshape(flat))
    else:
        weight = bb.emit(relax.op.reshape(weight, flat))
    attrs = {"op_pattern": compat_gpu.OUT_ELEMENTWISE_FUSABLE}
    return bb.call_te(compute, data, weight, primfunc_name_hint="convolution", primfunc_attrs=attrs)
