"""TVM's C interface by ctypes: references are counted right, memory stays where it is, errors and callbacks come through."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import weakref
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tvm_ffi
from runtime_models import WEIGHT

import oarlock
from oarlock import OarlockError, Session
from oarlock.runtime import ffi, tvm_runtime
from oarlock.runtime.arrays import aligned_empty
from oarlock.runtime.artifact import Artifact


@pytest.fixture(autouse=True)
def runtime() -> None:
    tvm_runtime.load_runtime()


def references(thing: ffi.Object) -> int:
    return ctypes.c_uint32.from_address(thing.address).value


def aligned(values: Any, dtype: Any) -> np.ndarray:
    values = np.asarray(values, dtype)
    array = aligned_empty(values.shape, values.dtype)
    array[...] = values
    return array


class _Heap(ctypes.Structure):
    """What mallinfo2 tells."""

    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]


def heap() -> int:
    """Bytes that malloc has handed out (Python's own small objects are not among them)."""
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is None:
        pytest.skip("the C library does not tell how much memory is in use")
    mallinfo.restype = _Heap
    gc.collect()
    facts = mallinfo()
    return facts.uordblks + facts.hblkhd


# ---- values ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [None, True, False, 0, -3, 2**62, "", "short", "a longer string, with ünïcode", [], [1, None, "x"], [[1], ["y" * 20]]]
)
def test_values_go_in_and_come_back(value: Any) -> None:
    (back,) = ffi.call("ffi.Array", value)
    assert back == value and type(back) is type(value)


def test_what_is_no_value_is_refused() -> None:
    with pytest.raises(TypeError, match="a dict is no argument"):
        ffi.call("ffi.Array", {})
    with pytest.raises(ffi.ForeignError, match="no function 'no.such.function'"):
        ffi.call("no.such.function")
    assert ffi.get_function("no.such.function") is None


def test_errors_bring_their_message() -> None:
    with pytest.raises(ffi.ForeignError, match="/no/such/file"):
        ffi.call("ffi.Module.load_from_file.so", "/no/such/file", "so")


TYPES = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "int32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
    "bfloat16",
    "float8_e4m3fn",
    "float8_e5m2",
]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 1, 3), (0, 4), (1,) * 12 + (2,)])
def test_arrays_and_tensors_share_memory(dtype: str, shape: tuple[int, ...]) -> None:
    numpy_type = np.dtype(getattr(ml_dtypes, dtype, dtype))
    array = aligned(np.arange(np.prod(shape, dtype=int)).reshape(shape) % 2, numpy_type)
    tensor = ffi.from_array(array, dtype, 64 if array.size else 1)
    assert tensor is not None and (tensor.shape, tensor.dtype, tensor.nbytes) == (shape, dtype, array.nbytes) and tensor.contiguous
    view, copy = tensor.array(), tensor.array(1 << 20)
    for back in (view, copy):
        assert back.dtype == numpy_type and back.shape == shape and back.flags.writeable and back.tobytes() == array.tobytes()
    if array.size:
        view[...] = 1
        assert (array == 1).all() and view.ctypes.data == array.ctypes.data and not np.shares_memory(copy, array)


def test_alignment_is_told() -> None:
    memory = aligned(np.zeros(64), "float32")
    assert ffi.from_array(memory[1:], "float32", 64) is None
    assert ffi.from_array(memory[1:], "float32") is not None and ffi.from_array(memory[16:], "float32", 64) is not None


def test_strided_tensors_of_other_libraries() -> None:
    base = np.arange(24, dtype="float32").reshape(4, 6)
    for array in (base, base.T, base[::2], base[:, ::3], base[1:, 2:], base[:, :1]):
        tensor = ffi.from_dlpack(array)
        assert tensor.contiguous == array.flags.c_contiguous
        assert np.array_equal(tensor.array(), array) and np.array_equal(tensor.array(1 << 20), array)


def test_capsules_of_both_kinds() -> None:
    array = np.arange(6, dtype="int16")

    class Old:
        def __dlpack__(self) -> Any:
            return array.__dlpack__()

    for value in (array, Old(), tvm_ffi.from_dlpack(array)):  # the last gives a versioned one
        before = sys.getrefcount(array)
        tensor = ffi.from_dlpack(value)
        assert tensor.data == array.ctypes.data and tensor.array().tolist() == list(range(6))
        del tensor
        gc.collect()
        assert sys.getrefcount(array) == before
    with pytest.raises((TypeError, ValueError)):
        ffi.from_dlpack(type("Wrong", (), {"__dlpack__": lambda self: 7})())


# ---- references --------------------------------------------------------------------------------------------------


def test_a_tensor_keeps_its_array_and_an_array_its_tensor() -> None:
    array = np.ones(1000, "float32")
    gone = weakref.ref(array)
    tensor = ffi.from_array(array, "float32")
    del array
    assert tensor is not None and gone() is not None and references(tensor) == 1
    view = tensor.array()[10:20]
    del tensor
    gc.collect()
    assert gone() is not None and (view == 1).all()
    del view
    gc.collect()
    assert gone() is None


def test_arrays_of_tensors_hold_one_reference_each() -> None:
    array = np.ones(4, "float32")
    tensor = ffi.from_array(array, "float32")
    assert tensor is not None
    back = ffi.call("ffi.Array", tensor, tensor)
    assert [t.address for t in back] == [tensor.address] * 2 and references(tensor) == 3
    del back
    assert references(tensor) == 1


def test_runs_leave_nothing_behind(dense: Artifact) -> None:
    session = Session(dense)
    inputs = [aligned(np.ones((300, 16)), "float32"), np.ones((301, 16), "float32")[1:], np.ones((2, 16), "float32")]
    weight = ffi.from_array(dense.weights[0], "float32")
    assert weight is not None

    def runs(count: int) -> None:
        for i in range(count):
            session.run({"x": inputs[i % 3]})
            with pytest.raises(OarlockError):
                session.run({"x": np.ones((2, 15), "float32")})

    runs(102)
    before, arrays = heap(), [sys.getrefcount(a) for a in (*inputs, dense.weights[0])]
    runs(2001)  # ends with the same input: TVM keeps the last one until the next run
    assert [sys.getrefcount(a) for a in (*inputs, dense.weights[0])] == arrays
    assert heap() - before < 40_000  # 20 bytes a run: one lost reference to a small object would be more


def test_sessions_leave_nothing_behind(dense: Artifact) -> None:
    x = np.ones((2, 16), "float32")

    def sessions(count: int) -> None:
        for i in range(count):
            session = Session(dense, threads=1)
            session.run({"x": x})
            if i % 2:
                session.close()

    def handles() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), Path("/proc/self/maps").read_text().count("memfd:oarlock")

    sessions(20)
    before, open_before, weights = heap(), handles(), sys.getrefcount(dense.weights[0])
    sessions(200)
    assert (handles(), sys.getrefcount(dense.weights[0])) == (open_before, weights)
    assert heap() - before < 200 * 200


def test_results_outlive_the_session_and_its_artifact(dense_file: Path) -> None:
    session = oarlock.load(dense_file)
    x = np.random.default_rng(3).standard_normal((2000, 16)).astype("float32")
    y = session.run({"x": x})["y"]
    expected = x.astype("float64") @ WEIGHT.astype("float64")
    assert not y.flags.owndata
    session.close()
    del session
    gc.collect()
    for _ in range(5):  # others use the memory that was given back
        with oarlock.load(dense_file) as other:
            other.run({"x": np.zeros((2000, 16), "float32")})
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)


# ---- errors and callbacks of a run -------------------------------------------------------------------------------


def test_a_failing_run_says_why(dense: Artifact) -> None:
    session = Session(dense)
    session.artifact = dense
    wrong = aligned(np.zeros((4, 15)), "float32")
    tensor = ffi.from_array(wrong, "float32")
    assert session._main is not None and tensor is not None
    with pytest.raises(ffi.ForeignError, match="15"):  # the program's own check, with the sizes in it
        session._main([tensor])
    assert references(tensor) == 1
    assert session.run({"x": np.ones((1, 16), "float32")})["y"].shape == (1, 300)


def test_hooks(dense: Artifact) -> None:
    session = Session(dense)
    x = np.ones((2, 16), "float32")
    seen: list[tuple[str, bool, list[Any]]] = []

    def hook(function: Any, name: str, before: bool, result: Any, *arguments: Any) -> int:
        seen.append((str(name), bool(before), [np.from_dlpack(a).copy() for a in arguments if isinstance(a, tvm_ffi.Tensor)]))
        return 0

    session.instrument(hook)
    session.run({"x": x})
    names = [name for name, before, _ in seen if before]
    assert "product" in names and names == [name for name, before, _ in seen if not before]
    (given,) = [arguments for name, before, arguments in seen if name == "product" and before]
    assert np.array_equal(given[0], x) and np.array_equal(given[1], WEIGHT)
    count = len(seen)
    session.instrument(None)
    session.run({"x": x})
    assert len(seen) == count


def test_hooks_that_raise(dense: Artifact) -> None:
    def hook(*_: Any) -> int:
        raise ValueError("no more of this")

    session = Session(dense)
    x = np.ones((2, 16), "float32")
    session.instrument(hook)
    with pytest.raises(OarlockError, match="no more of this"):
        session.run({"x": x})
    session.instrument(None)
    assert session.run({"x": x})["y"].shape == (2, 300)
