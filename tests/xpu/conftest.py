"""Fixtures of the XPU's tests; all of them are skipped without a C++ compiler."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oarlock import targets
from oarlock.errors import TargetError

sys.path.insert(0, str(Path(__file__).parents[1] / "gpu"))  # its modules of every kind of kernel

Call = Callable[..., np.ndarray]


@pytest.fixture(scope="session", autouse=True)
def compiler() -> str:
    """The host's C++ compiler."""
    native = pytest.importorskip("oarlock_xpu.native", reason="the package oarlock_xpu is not installed")
    if "xpu/r200" not in targets.names():
        pytest.skip("the entry points of oarlock_xpu are not installed (pip install -e .)")
    try:
        return native.compiler()
    except TargetError as error:
        pytest.skip(f"the XPU's native part cannot be built: {error.what}")


@pytest.fixture(autouse=True)
def dynamic_mode() -> None:
    """Other tests of the process leave Paddle in static mode."""
    if "paddle" in sys.modules:
        sys.modules["paddle"].disable_static()


@pytest.fixture(scope="session")
def export() -> Callable[..., tuple[Path, Any]]:
    """export(make, path, spec, seed) → the file of the layer that ``make`` makes, and the layer."""

    def save(make: Callable[[], Any], path: Path, spec: Sequence[Any], seed: int) -> tuple[Path, Any]:
        import paddle

        paddle.disable_static()
        paddle.seed(seed)
        layer = make()
        layer.eval()
        paddle.jit.save(paddle.jit.to_static(layer, full_graph=True), str(path), input_spec=list(spec))
        return path.with_suffix(".json"), layer

    return save


@pytest.fixture(scope="session")
def call(compiler: str) -> Call:
    """call(step, inputs, shape, dtype) → what one function of the kernel library makes of numpy arrays on an R200."""
    import tvm
    import tvm_ffi

    from oarlock_xpu import device, native

    native.load()
    device.become("r200")
    make = tvm_ffi.get_global_func("oarlock_xpu.library_module")

    def run(step: dict[str, Any], inputs: Sequence[np.ndarray], shape: Sequence[int], dtype: str = "float32") -> np.ndarray:
        xpu = tvm.ext_dev(0)
        roles = step.get("inputs") or ["x", "w", "bias", "branch"][: len(inputs)]
        function = make(json.dumps({"f": {**step, "inputs": roles}}))["f"]
        result = tvm.runtime.empty(tuple(shape), dtype, xpu)
        function(*(tvm.runtime.tensor(np.asarray(x, order="C"), xpu) for x in inputs), result)
        return result.numpy()

    return run
