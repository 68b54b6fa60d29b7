"""Control flow beyond the samples: very long loops, loops that do not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oarlock
from oarlock.errors import UnsupportedOperators
from oarlock.importer import import_program
from oarlock.model import Block, ListType, Op, Program, TensorType, Value

pytest.importorskip("paddle", reason="paddlepaddle is the oracle")


def _session(call: Any, inputs: dict[str, np.ndarray], folder: Path) -> oarlock.Session:
    from oarlock.checking.oracle import export_call

    export_call(call, inputs, {}, folder / "model", dynamic=True)
    return oarlock.Session(oarlock.compile(oarlock.load_model(folder / "model.json"), target="cpu"))


def _run(session: oarlock.Session, **inputs: np.ndarray) -> np.ndarray:
    return next(iter(session.run(inputs).values()))


def _sum_of_counts(paddle: Any, n: Any) -> Any:
    start = [paddle.zeros([], "int64"), paddle.zeros([3], "float64")]
    return paddle.static.nn.while_loop(lambda i, y: i < n, lambda i, y: [i + 1, y + i.astype("float64")], start)[1]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 63, 64, 65, 200_000])
def test_a_loop_runs_as_often_as_it_should(count: int, tmp_path: Path) -> None:
    session = _session(_sum_of_counts, {"n": np.array(3, "int64")}, tmp_path)
    np.testing.assert_array_equal(_run(session, n=np.array(count, "int64")), np.full(3, count * (count - 1) / 2))


def test_growing_loop_of_run_time_shape(tmp_path: Path) -> None:
    def call(paddle: Any, x: Any, n: Any) -> Any:
        body = lambda i, y: [i + 1, paddle.concat([y, x * i.astype("float32")])]  # noqa: E731
        return paddle.static.nn.while_loop(lambda i, y: i < n, body, [paddle.zeros([], "int64"), x])[1]

    x = np.arange(6, dtype="float32").reshape(2, 3)
    session = _session(call, {"x": x, "n": np.array(3, "int64")}, tmp_path)
    for n in (0, 1, 5):
        np.testing.assert_array_equal(_run(session, x=x, n=np.array(n, "int64")), np.concatenate([x, *(x * i for i in range(n))]))


def _nested(depth: int) -> Program:
    """Loops inside one another, each of which doubles x: every level takes two trials to find out that dim 0 changes."""
    vector, scalar = TensorType("float32", (-1,)), TensorType("bool", ())
    x, c = Value("x", vector), Value("c", scalar)

    def loop(carried: Value, level: int) -> Op:
        argument = last = Value(f"argument_{level}", vector)
        body = Block([argument], [])
        if level > 1:
            body.ops.append(loop(argument, level - 1))
            last = body.ops[0].results[0]
        axis, both, doubled = Value("axis", TensorType("int32", (1,))), Value("both", ListType((vector, vector))), Value("doubled", vector)
        body.ops += [
            Op("pd_op.full", {}, {"shape": [1], "value": 0.0, "dtype": "int32"}, [axis], ["out"]),
            Op("builtin.combine", {"operand_0": last, "operand_1": last}, {}, [both], ["out"]),
            Op("pd_op.concat", {"x": both, "axis": axis}, {}, [doubled], ["out"]),
            Op("cf.yield", {"operand_0": c, "operand_1": doubled}),
        ]
        return Op("pd_op.while", {"cond": c, "operand_1": carried}, {}, [Value(f"loop_{level}", vector)], ["result_0"], [body])

    ops = [Op("pd_op.data", {}, {"name": v.name}, [v], ["out"]) for v in (x, c)]
    ops.append(loop(x, depth))
    return Program(Block([], ops), [x, c], {"out": ops[-1].results[0]}, {}).verify()


@pytest.mark.timeout(240)
def test_loops_nested_too_deeply_are_refused_not_tried_for_ever() -> None:
    import_program(_nested(3))
    with pytest.raises(UnsupportedOperators, match="nested too deeply"):
        import_program(_nested(20))


def test_a_layer_with_its_own_gradient_is_its_forward_function(tmp_path: Path) -> None:
    """pd_op.pylayer, also in a branch, of several operands, one of which is handed on."""

    def call(paddle: Any, x: Any, y: Any, flag: Any) -> Any:
        def layer(a: Any, b: Any) -> Any:
            return paddle.static.nn.static_pylayer(lambda a, b: (paddle.tanh(a) * b, b), [a, b], lambda da, db: (da, db))

        product, same = layer(x, y)
        return paddle.static.nn.cond(flag, lambda: layer(product, same)[0], lambda: product + same)

    random = np.random.default_rng(0)
    inputs = {"x": random.standard_normal((2, 3)).astype("float32"), "y": random.standard_normal((2, 3)).astype("float32")}
    session = _session(call, inputs | {"flag": np.array(True)}, tmp_path)
    once = np.tanh(inputs["x"]) * inputs["y"]
    np.testing.assert_allclose(_run(session, **inputs, flag=np.array(True)), np.tanh(once) * inputs["y"], atol=1e-6)
    np.testing.assert_allclose(_run(session, **inputs, flag=np.array(False)), once + inputs["y"], atol=1e-6)
    assert '"1.pylayer"' in next(tmp_path.glob("*.json")).read_text().replace(" ", "")
