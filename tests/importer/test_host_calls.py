"""Operations without a converter as calls of Python functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import oarlock
from oarlock.errors import HostCallError, InputError, UnsupportedError, UnsupportedOperators
from oarlock.importer import Hosts, import_program
from oarlock.model import Block, ListType, Op, OpaqueType, Program, TensorType, Value
from oarlock.runtime import host as registry


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_REGISTRY", {})
    yield


def value(name: str, dtype: str = "float32", *shape: int) -> Value:
    return Value(name, TensorType(dtype, shape))


def data(v: Value) -> Op:
    return Op("pd_op.data", {}, {"name": v.name}, [v], ["out"])


def op(name: str, operands: dict[str, Value | None], results: list[Value], **attrs: Any) -> Op:
    return Op(name, dict(operands), attrs, results, [f"result_{i}" for i in range(len(results))], handle=f"/net/{name}")


def program(inputs: list[Value], ops: list[Op], outputs: list[Value]) -> Program:
    return Program(Block([], [*map(data, inputs), *ops]), inputs, {v.name: v for v in outputs}, {}).verify()


def scaled(*shape: int, name: str = "custom_op.scaled") -> Program:
    """relu(scaled(relu(x), factor=3)): kernels before and after the call."""
    x, a, y, z = (value(n, "float32", *shape) for n in "xayz")
    ops = [op("pd_op.relu", {"x": x}, [a]), op(name, {"operand_0": a}, [y], factor=3.0), op("pd_op.relu", {"x": y}, [z])]
    return program([x], ops, [z])


def run(model: Program, inputs: dict[str, np.ndarray], **options: Any) -> dict[str, np.ndarray]:
    host = options.get("host")
    with oarlock.Session(oarlock.compile(model, threads=1, **options), host=host if isinstance(host, dict) else None) as session:
        return session.run(inputs)


X = np.array([[1.5, -2.0, 3.0], [0.0, 4.0, -1.0]], "float32")


def test_a_static_model(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    @oarlock.host_operator("scaled")
    def function(x: np.ndarray, *, factor: float) -> np.ndarray:
        seen.append((x.shape, x.dtype, x.flags.writeable, factor))
        return x * np.float32(-factor) + np.float32(5)

    got = run(scaled(2, 3), {"x": X})["z"]
    np.testing.assert_array_equal(got, np.maximum(np.maximum(X, 0) * np.float32(-3) + 5, 0))
    assert seen == [((2, 3), np.float32, False, 3.0)]
    artifact = oarlock.compile(scaled(2, 3), threads=1)
    assert artifact.signature.outputs[0].shape == (2, 3)


def test_dynamic_dims_are_known_when_the_call_returns() -> None:
    """A custom compress: how many rows come back depends on the data; kernels follow on what comes back."""
    x, y, z, s = value("x", "float32", -1, 3), value("y", "float32", -1, 3), value("z", "float32", -1, 3), value("s", "float32", -1)
    ops = [op("custom_op.rows", {"operand_0": x}, [y]), op("pd_op.relu", {"x": y}, [z]), op("pd_op.sum", {"x": y}, [s], axis=[1], dtype="undefined", keepdim=False)]
    artifact = oarlock.compile(program([x], ops, [z, s]), threads=1, host={"rows": lambda x: x[x[:, 0] > 0]})
    session = oarlock.Session(artifact, host={"rows": lambda x: x[x[:, 0] > 0]})
    for n in (0, 1, 7, 100):
        array = np.random.default_rng(n).standard_normal((n, 3)).astype("float32")
        kept = array[array[:, 0] > 0]
        got = session.run({"x": array})
        np.testing.assert_array_equal(got["z"], np.maximum(kept, 0))
        np.testing.assert_allclose(got["s"], kept.sum(1), rtol=1e-6, atol=1e-6)
