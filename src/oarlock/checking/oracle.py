"""Paddle as the oracle: export a call as a PIR program and run it.  Needs paddlepaddle (an extra)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..runtime.dtypes import EXTENDED, carrier, numpy_dtype


def export_call(
    call: Callable[..., Any],
    inputs: Mapping[str, np.ndarray],
    constants: Mapping[str, np.ndarray],
    stem: Path,
    *,
    dynamic: bool,
    static: Collection[int] = (),
    sequences: Collection[str] = (),
    declared: Mapping[str, Sequence[int]] | None = None,
) -> list[np.ndarray]:
    """Save ``call(paddle, *inputs, *constants)`` as ``stem``.json (+ .pdiparams) and give what Paddle itself computes.

    ``dynamic``: every dim of every input is declared unknown (−1), but the axes in ``static``.
    ``sequences``: inputs whose rows Paddle is told to be one sequence (LoD).
    ``declared``: dims of inputs (−1: unknown) that are declared in place of what ``dynamic`` says.
    """
    import paddle

    paddle.enable_static()
    main, startup = paddle.static.Program(), paddle.static.Program()
    with paddle.static.program_guard(main, startup), paddle.static.scope_guard(paddle.static.Scope()):
        dims = {k: _declared(v, static) if dynamic else list(v.shape) for k, v in inputs.items()} | dict(declared or {})
        feeds = [paddle.static.data(k, list(dims[k]), str(v.dtype)) for k, v in inputs.items()]
        held = [
            paddle.static.create_parameter(list(v.shape), str(v.dtype), name=k, default_initializer=paddle.nn.initializer.Assign(v))
            for k, v in constants.items()
        ]
        result = call(paddle, *feeds, *held)
        outputs = [o for o in (result if isinstance(result, list | tuple) else [result]) if o is not None]
        executor = paddle.static.Executor(paddle.CPUPlace())
        executor.run(startup)
        paddle.static.save_inference_model(str(stem), feeds, outputs, executor, program=main, skip_prune_program=True)
        fed: dict[str, Any] = {
            name: array.view(carrier(array.dtype) or array.dtype) for name, array in inputs.items()
        }  # bfloat16: its bits
        fed |= {name: _sequence(paddle, fed[name]) for name in sequences}
        results = executor.run(main, feed=fed, fetch_list=outputs, return_numpy=False)  # as tensors: some have LoD
        return [_typed(np.asarray(r), o.dtype) for r, o in zip(results, outputs, strict=True)]


def _sequence(paddle: Any, rows: np.ndarray) -> Any:
    """A Paddle tensor whose rows are one sequence."""
    tensor = paddle.base.core.DenseTensor()
    tensor.set(rows, paddle.CPUPlace())
    tensor.set_recursive_sequence_lengths([[len(rows)]])
    return tensor


def _typed(array: np.ndarray, declared: Any) -> np.ndarray:
    """Paddle hands bfloat16 and float8 over as their bits."""
    name = str(declared).removeprefix("paddle.")
    return array.view(numpy_dtype(name)) if name in EXTENDED and array.dtype.name != name else array


def _declared(array: np.ndarray, static: Collection[int]) -> list[int]:
    known = {axis % array.ndim for axis in static if array.ndim}
    return [d if axis in known else -1 for axis, d in enumerate(array.shape)]
