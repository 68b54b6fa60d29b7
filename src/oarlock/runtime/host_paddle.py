"""Paddle as the host: operations run as one-operation Paddle programs in this process, where paddlepaddle is installed.

Each host call has a predictor of its own, made of the program in the artifact's manifest, with Paddle's graph optimisation and oneDNN
off.  A call costs about 50 µs beside the operation itself.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..errors import HostCallError
from . import dtypes

CARRIERS = {"int16": "int32", "bfloat16": "float32"}
"""Element types that Paddle's predictor does not hand over → those that carry their numbers, which the program casts."""
_INSTALL = "pip install 'oarlock[paddle]', or give Python functions for these operators: host={…}"


def require_paddle() -> Any:
    """Paddle's inference package; HostCallError where it is not installed."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    try:
        import paddle.inference
    except ImportError as error:
        raise HostCallError(f"paddlepaddle is not installed or does not load: {error}", todo=_INSTALL) from error
    return paddle.inference


def _predictor(program: str) -> Any:
    """A predictor of a one-operation program; whatever Paddle raises for one that it cannot run."""
    inference = require_paddle()
    with tempfile.TemporaryDirectory(prefix="oarlock-") as folder:  # a buffer will not do: Paddle takes one for a legacy program
        path = os.path.join(folder, "operation.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write(program)
        config = inference.Config(path, "")
        config.disable_gpu()
        config.disable_glog_info()
        config.switch_ir_optim(False)
        config.set_cpu_math_library_num_threads(1)
        if hasattr(config, "disable_mkldnn"):
            config.disable_mkldnn()
        return inference.create_predictor(config)


def check_program(operator: str, program: str) -> None:
    """HostCallError when Paddle has no such operator, or no kernel for it on the CPU and these types."""
    try:
        _predictor(program)
    except HostCallError:
        raise
    except Exception as error:  # Paddle's own errors are RuntimeError, ValueError, NotImplementedError, …
        raise HostCallError(
            f"Paddle cannot run {operator}: {reason(error)}", todo="register a function with oarlock.host_operator"
        ) from error


def paddle_function(entry: dict[str, Any], where: str) -> Callable[..., Any]:
    """The function that runs a host call's program."""
    operator, program = entry["operator"], entry.get("program")
    names = entry.get("feeds"), entry.get("fetches")
    if not isinstance(program, str) or not all(isinstance(n, list) for n in names):
        raise HostCallError(f"the manifest has no Paddle program for {operator}", where=where, todo="compile the model again")
    try:
        predictor = _predictor(program)
    except HostCallError as error:
        raise HostCallError(f"the model has {operator} run by Paddle, and {error.what}", where=where, todo=error.todo) from error.__cause__
    except Exception as error:
        raise HostCallError(
            f"Paddle cannot run {operator}: {reason(error)}", where=where, todo="install the Paddle of the compilation"
        ) from error
    return _Operation(entry, predictor)


class _Operation:
    """A predictor as a function of arrays."""

    is_paddle = True

    def __init__(self, entry: dict[str, Any], predictor: Any) -> None:
        self._predictor, self._results = predictor, entry["results"]
        self._inputs = [predictor.get_input_handle(name) for name in entry["feeds"]]
        self._fetches = entry["fetches"]

    def __call__(self, *operands: Any) -> tuple[Any, ...]:
        given = [a for o in operands if o is not None for a in (o if isinstance(o, list) else [o])]
        for handle, array in zip(self._inputs, given, strict=True):
            handle.reshape(array.shape)
            handle.copy_from_cpu(np.ascontiguousarray(array, CARRIERS.get(array.dtype.name)).reshape(array.shape))
        try:
            self._predictor.run()
        except Exception as error:  # its text is a page of C++
            raise RuntimeError(reason(error)) from None
        outputs = iter([self._predictor.get_output_handle(name).copy_to_cpu() for name in self._fetches])
        return tuple(self._result(r, outputs) for r in self._results)

    def _result(self, spec: Any, outputs: Iterator[np.ndarray]) -> Any:
        if spec is None:
            return None
        if isinstance(spec, list):
            return [self._result(s, outputs) for s in spec]
        array = next(outputs)
        return array.astype(dtypes.numpy_dtype(spec["dtype"])) if spec["dtype"] in CARRIERS else array


def reason(error: BaseException) -> str:
    """What Paddle says, without its traceback in C++."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "Error:" in line or line.startswith("(")]
    return (told[-1] if told else lines[0] if lines else type(error).__name__)[:400]
