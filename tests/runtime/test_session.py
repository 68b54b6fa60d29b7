"""Session: right numbers, clear refusals, no surprises with memory, threads or lifetimes."""

from __future__ import annotations

import dataclasses
import gc
import os
import threading
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from runtime_models import WEIGHT, mixed_inputs

import oarlock
from oarlock import ArtifactError, InputError, OarlockError, Session, TargetError
from oarlock.runtime import tvm_runtime
from oarlock.runtime.arrays import aligned_empty
from oarlock.runtime.artifact import ALIGNMENT, Artifact
from oarlock.runtime.signature import Signature, TensorSpec


def close_to_product(y: np.ndarray, x: np.ndarray) -> bool:
    """Whether y is x @ WEIGHT in float32 arithmetic (16 products of about 1 each)."""
    return np.allclose(y, x.astype("float64") @ WEIGHT.astype("float64"), rtol=0, atol=1e-5)


@pytest.fixture
def session(dense: Artifact) -> Session:
    return Session(dense)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((5, 16)).astype("float32")


def test_load_and_run(dense_file: Path, x: np.ndarray) -> None:
    with oarlock.load(dense_file) as session:
        assert [str(s) for s in session.inputs] == ["x: float32[n, 16]"]
        assert [s.name for s in session.outputs] == ["y", "same", "weight"]
        outputs = session.run({"x": x})
    assert list(outputs) == ["y", "same", "weight"]
    assert close_to_product(outputs["y"], x)
    assert np.array_equal(outputs["same"], x) and np.array_equal(outputs["weight"], WEIGHT)


@pytest.mark.parametrize("n", [1, 3, 64])
def test_all_element_types(mixed: Artifact, n: int) -> None:
    given = mixed_inputs(n)
    out = Session(mixed).run(given)
    assert np.array_equal(out["fg"], given["f"] + given["g"][:, None])
    assert out["i1"].shape == () and out["i1"].dtype == np.int64 and out["i1"] == 42
    assert np.array_equal(out["nb"], ~given["b"]) and out["nb"].dtype == np.bool_
    assert out["h2"].dtype == ml_dtypes.bfloat16 and out["h2"].tolist() == [3.0, -4.0]
    assert np.array_equal(out["e2"], 2 * given["e"])


def test_no_rows(session: Session) -> None:
    outputs = session.run({"x": np.empty((0, 16), "float32")})
    assert outputs["y"].shape == (0, 300) and outputs["same"].shape == (0, 16)


# ---- what inputs may be ------------------------------------------------------------------------------------------


def read_only(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


def shifted(a: np.ndarray, by: int) -> np.ndarray:
    out = aligned_empty((a.nbytes + by,), np.dtype("uint8"))[by:].view(a.dtype).reshape(a.shape)
    out[:] = a
    return out


class Foreign:
    """A tensor of another library: it has nothing but DLPack."""

    def __init__(self, array: np.ndarray, device: tuple[int, int] = (1, 0)) -> None:
        self.array, self.device = array, device

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self.array.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


FORMS = {
    "plain": lambda a: a,
    "fortran": np.asfortranarray,
    "every second": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "read only": read_only,
    "aligned": lambda a: shifted(a, 0),
    "off by 4": lambda a: shifted(a, 4),
    "off by 32": lambda a: shifted(a, 32),
    "unaligned": lambda a: shifted(a, 1),
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
    "foreign": lambda a: Foreign(a),
    "foreign, strided": lambda a: Foreign(np.asfortranarray(a)),
    "foreign, off by 8": lambda a: Foreign(shifted(a, 8)),
    "list": lambda a: a.tolist(),
    "tuple of lists": lambda a: tuple(a.tolist()),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_forms_of_inputs(session: Session, x: np.ndarray, form: Any) -> None:
    given = form(x)
    expected = given if isinstance(given, np.ndarray) else x
    for _ in range(2):  # the second run meets the session's buffers
        assert close_to_product(session.run({"x": given})["y"], expected)


def test_numbers_for_0d(mixed: Artifact) -> None:
    session = Session(mixed)
    for number in (41, np.int64(41), np.array(41), True):
        assert session.run({**mixed_inputs(2), "i": number})["i1"] == int(number) + 1


def test_empty_gives_memory_that_is_used_in_place(session: Session, x: np.ndarray) -> None:
    array = session.empty("x", x.shape)
    assert array.ctypes.data % ALIGNMENT == 0 and array.dtype == np.float32
    array[:] = x
    assert close_to_product(session.run({"x": array})["y"], x)
    assert not session._staging
    for wrong in (("z", (1, 16)), ("x", (1, 17)), ("x", (-1, 16))):
        with pytest.raises(InputError):
            session.empty(*wrong)


# ---- what they may not be ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"missing 'x'"),
        ({"X": 0, "y": 0}, r"missing 'x'; unknown 'X', 'y'"),
        ({"x": np.zeros((2, 16), "float32"), "z": 1}, r"unknown 'z'"),
        ({"x": np.zeros(16, "float32")}, r"has rank 1, expected 2"),
        ({"x": np.zeros((2, 17), "float32")}, r"dim 1 of input 'x' is 17, expected 16"),
        ({"x": np.zeros((2, 16))}, r"is float64, expected float32"),
        ({"x": np.zeros((2, 16), ">f4")}, r"expected float32"),
        ({"x": np.zeros((2, 16), "complex64")}, r"expected float32"),
        ({"x": np.zeros((2, 16), "S3")}, r"expected float32"),
        ({"x": np.zeros((2, 16), object)}, r"is object, expected float32"),
        ({"x": np.zeros((), [("a", "f4")])}, r"expected float32"),
        ({"x": np.float64(3)}, r"is float64, expected float32"),
        ({"x": [[0.0] * 16, [0.0] * 15]}, r"no array of float32"),
        ({"x": [["a"] * 16]}, r"expected float32"),
        ({"x": None}, r"expected float32"),
        ({"x": {}}, r"expected float32"),
        ({"x": Foreign(np.zeros((2, 16), "float32"), (2, 0))}, r"not in CPU memory"),
        ({"x": Foreign(np.zeros((2, 16), "int8"))}, r"is int8, expected float32"),
        ({"x": Foreign(np.zeros((2, 16), "complex64"))}, r"gives no DLPack tensor"),
        ({"x": Foreign(np.zeros((2, 3), "float32"))}, r"is 3, expected 16"),
        ([1], r"inputs are a list"),
        (np.zeros((2, 16), "float32"), r"inputs are a ndarray"),
    ],
    ids=lambda v: str(v)[:40] if not isinstance(v, str) else "",
)
def test_refused_inputs(session: Session, x: np.ndarray, given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        session.run(given)
    assert close_to_product(session.run({"x": x})["y"], x)  # still of use


def test_shared_dims_must_agree(mixed: Artifact) -> None:
    given = mixed_inputs(3)
    with pytest.raises(InputError, match=r"dim 0 of input 'g' is 4, but 'n' is 3 in dim 0 of 'f'"):
        Session(mixed).run({**given, "g": np.zeros(4, "float32")})


@pytest.mark.parametrize("value", [1.5, [1], "7", 2**70])
def test_numbers_are_not_squeezed_into_integers(mixed: Artifact, value: Any) -> None:
    with pytest.raises(InputError, match="input 'i'"):
        Session(mixed).run({**mixed_inputs(2), "i": value})


def test_derived_dims_are_checked_by_the_program(mixed: Artifact) -> None:
    session = Session(mixed)
    with pytest.raises(OarlockError, match="failed as it ran"):
        session.run({**mixed_inputs(3), "e": np.zeros(5, "float32")})
    assert session.run(mixed_inputs(3))["i1"] == 42


# ---- memory ------------------------------------------------------------------------------------------------------


def test_outputs_are_the_callers_own(session: Session, dense: Artifact) -> None:
    x = session.empty("x", (2000, 16))
    x[:] = 1
    first = session.run({"x": x})
    for array in first.values():
        assert array.flags.writeable
        assert not np.shares_memory(array, x) and not any(np.shares_memory(array, w) for w in dense.weights)
    assert not first["y"].flags.owndata  # large: the memory that the program wrote, not a copy
    kept = {name: array.copy() for name, array in first.items()}
    for array in session.run({"x": x}).values():
        array[:] = -7
    assert (x == 1).all() and np.array_equal(session.run({"x": x})["weight"], WEIGHT)
    session.close()
    del session
    gc.collect()
    assert all(np.array_equal(first[name], kept[name]) for name in kept)


def test_an_input_that_is_copied_is_not_handed_out(session: Session) -> None:
    a = session.run({"x": np.full((3000, 16), 1, "float32")[::1]})["same"]
    b = session.run({"x": np.full((3000, 16), 2, "float32")[::1]})["same"]
    assert (a == 1).all() and (b == 2).all()


def test_shapes_may_change_from_run_to_run(session: Session) -> None:
    rng = np.random.default_rng(2)
    for n in (1, 7, 3, 7, 200, 1):
        x = rng.standard_normal((n, 16)).astype("float32")
        assert close_to_product(session.run({"x": x})["y"], x)


def test_weights_in_any_memory(dense: Artifact, x: np.ndarray) -> None:
    """Artifacts need not come from a file: weights that are misaligned, strided or read-only are copied."""
    for form in (read_only, np.asfortranarray, lambda a: shifted(a, 4)):
        artifact = dataclasses.replace(dense, weights=[form(w) for w in dense.weights])
        assert close_to_product(Session(artifact).run({"x": x})["y"], x)


# ---- threads, lifetimes ------------------------------------------------------------------------------------------


def test_calls_from_many_threads(session: Session) -> None:
    wrong: list[int] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(20):
            x = rng.standard_normal((1 + seed, 16)).astype("float32")
            if not close_to_product(session.run({"x": x})["y"], x):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("threads", [1, 2, 64])
def test_thread_counts(dense: Artifact, x: np.ndarray, threads: int) -> None:
    before = os.sched_getaffinity(0)
    session = Session(dense, threads=threads)
    assert session.threads == threads and close_to_product(session.run({"x": x})["y"], x)
    assert os.sched_getaffinity(0) == before  # the caller is not pinned to a core


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2"])
def test_wrong_thread_counts(dense: Artifact, threads: Any) -> None:
    with pytest.raises(InputError, match="threads"):
        Session(dense, threads=threads)


def test_closed(session: Session, x: np.ndarray) -> None:
    session.close()
    session.close()
    with pytest.raises(OarlockError, match="closed"):
        session.run({"x": x})


def test_sessions_that_come_and_go_run_their_own_code(dense: Artifact, mixed: Artifact, x: np.ndarray) -> None:
    """Libraries are loaded through descriptors, whose numbers are used again."""
    kept = []
    for _ in range(5):
        one = Session(dense)
        assert close_to_product(one.run({"x": x})["y"], x)
        other = Session(mixed)
        assert other.run(mixed_inputs(2))["i1"] == 42
        kept.append(one)
    assert all(close_to_product(s.run({"x": x})["y"], x) for s in kept)


# ---- artifacts that do not run -----------------------------------------------------------------------------------


@pytest.mark.parametrize("library", [b"", b"no library", b"\x7fELF" + bytes(200)], ids=["empty", "text", "elf"])
def test_broken_library(dense: Artifact, library: bytes) -> None:
    with pytest.raises(ArtifactError, match="does not load"):
        Session(dataclasses.replace(dense, library=library))


def test_a_library_cut_short(dense: Artifact) -> None:
    with pytest.raises(ArtifactError):
        Session(dataclasses.replace(dense, library=dense.library[: len(dense.library) // 2]))


def test_weights_that_do_not_belong_to_the_program(dense: Artifact, x: np.ndarray) -> None:
    with pytest.raises(ArtifactError, match="takes 2 tensors, but there are 1 inputs and 0 weights"):
        Session(dataclasses.replace(dense, weights=[], names=[]))
    with pytest.raises(OarlockError):
        Session(dataclasses.replace(dense, weights=[WEIGHT[:8].copy()])).run({"x": x})


def test_signature_that_does_not_belong_to_the_program(dense: Artifact, x: np.ndarray) -> None:
    signature = Signature(dense.signature.inputs, (TensorSpec("y", "float32", ("n", 300)),))
    with pytest.raises(ArtifactError, match="returned 3 values"):
        Session(dataclasses.replace(dense, signature=signature)).run({"x": x})


@pytest.mark.parametrize(
    ("runtime", "error", "message"),
    [
        ({"device": "vulkan"}, TargetError, "runs the CPU"),
        ({"machine": "riscv64"}, ArtifactError, "riscv64"),
        ({"features": ["avx", "made_up_feature"]}, ArtifactError, "lacks: made_up_feature"),
    ],
)
def test_other_machines(dense: Artifact, runtime: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Session(dataclasses.replace(dense, manifest={"target": "cpu", "runtime": {**dense.runtime, **runtime}}))


@pytest.mark.parametrize("refuse", ["memfd_create", "exec"])
def test_where_descriptors_cannot_be_executed(dense: Artifact, x: np.ndarray, monkeypatch: pytest.MonkeyPatch, refuse: str) -> None:
    """Hardened systems have no memfd, or none that may be executed: the library goes through a temporary file."""

    def forbidden(*_: Any) -> int:
        raise OSError("not permitted")

    if refuse == "memfd_create":
        monkeypatch.setattr(os, "memfd_create", forbidden)
    else:
        monkeypatch.setattr(tvm_runtime, "_unique_alias", lambda descriptor: "/proc/self/fd/-1")
    assert close_to_product(Session(dense).run({"x": x})["y"], x)
