"""Weight files: every dtype, mapped and not copied, every length checked."""

from __future__ import annotations

import struct

import ml_dtypes
import numpy as np
import pytest
import tiny

from oarlock.errors import ModelError
from oarlock.model import Parameter, TensorType
from oarlock.model.params import bind_combined, bind_separate, inside, map_file, read_tensors

ARRAYS = [
    np.array([[1.5, -2.0], [np.inf, 0.0]], np.float32),
    np.array([1.0, 3.0], ml_dtypes.bfloat16),
    np.array([[1], [-2], [3]], np.int8),
    np.array([0.5], np.float16),
    np.array([1 + 2j], np.complex64),
    np.array([True, False]),
    np.array(7, np.int64),
    np.zeros((0, 4), np.float32),
]


def test_every_dtype_is_read_back():
    tensors = read_tensors(b"".join(map(tiny.tensor_bytes, ARRAYS)), "here")
    for stored, array in zip(tensors, ARRAYS, strict=True):
        assert stored.dtype == array.dtype and stored.shape == array.shape
        np.testing.assert_array_equal(stored, array)


def test_lod_levels_are_skipped():
    data = tiny.tensor_bytes(ARRAYS[0], [b"12345678" * 3, b""]) + tiny.tensor_bytes(ARRAYS[1])
    np.testing.assert_array_equal(read_tensors(data, "here")[0], ARRAYS[0])


def test_arrays_are_read_only_views_of_the_file(tmp_path):
    path = tmp_path / "w"
    path.write_bytes(tiny.tensor_bytes(ARRAYS[0]))
    view = map_file(path)
    (array,) = read_tensors(view, "here")
    assert np.shares_memory(array, np.frombuffer(view, np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True


@pytest.mark.parametrize("cut", range(1, 60, 3))
def test_truncated_files_are_refused(cut):
    data = tiny.tensor_bytes(ARRAYS[0])
    with pytest.raises(ModelError):
        read_tensors(data[:-cut] if cut < len(data) else data[:1], "here")


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (0, struct.pack("<I", 1)),
        (4, struct.pack("<Q", 1 << 60)),
        (4, struct.pack("<QQ", 1, (1 << 64) - 1)),
        (12, struct.pack("<I", 9)),
        (16, struct.pack("<i", -1)),
        (16, struct.pack("<i", 0x7FFFFFFF)),
        (20, b"\x08\x63"),  # a dtype that does not exist
        (20, b"\x08\x07"),  # a kind of variable, not a dtype
        (22, b"\x10\x7f"),  # a dim larger than the file
        (22, b"\x7a\x7f"),  # a field that does not exist
    ],
)
def test_forged_headers_are_refused(offset, value):
    data = bytearray(tiny.tensor_bytes(ARRAYS[0]))
    data[offset : offset + len(value)] = value
    with pytest.raises(ModelError) as caught:
        read_tensors(bytes(data), "here")
    assert "here" in caught.value.where


@pytest.mark.parametrize("dims", [[1 << 62, 4], [-1], [-(1 << 63)], [1 << 32, 1 << 32, 0, 1 << 32], [1] * 65])
def test_forged_shapes_are_refused(dims):
    description = tiny.field(1, 5) + b"".join(tiny.field(2, d) for d in dims)
    data = struct.pack("<IQIi", 0, 0, 0, len(description)) + description + b"\0" * 64
    with pytest.raises(ModelError):
        read_tensors(data, "here")


def parameters(**types: TensorType) -> dict[str, Parameter]:
    return {name: Parameter(name, type_, None) for name, type_ in types.items()}


def test_a_combined_file_is_in_the_order_of_sorted_names():
    wanted = parameters(b=TensorType("float32", (2, 2)), a=TensorType("bfloat16", (-1,)))
    bind_combined(wanted, ["b", "a"], tiny.tensor_bytes(ARRAYS[1]) + tiny.tensor_bytes(ARRAYS[0]), "here")
    np.testing.assert_array_equal(wanted["b"].data, ARRAYS[0])
    assert wanted["a"].type == TensorType("bfloat16", (2,))  # the stored shape is the truth


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "holds 0 tensors"),
        (tiny.tensor_bytes(ARRAYS[0]) * 2, "goes on after"),
        (tiny.tensor_bytes(ARRAYS[0].T[:1]), "shape"),
        (tiny.tensor_bytes(ARRAYS[2]), "stored as int8"),
    ],
)
def test_weights_of_another_program_are_refused(data, message):
    with pytest.raises(ModelError, match=message):
        bind_combined(parameters(a=TensorType("float32", (2, 2))), ["a"], data, "here")


def test_separate_files(tmp_path):
    wanted = parameters(a=TensorType("float32", (2, 2)), b=TensorType("int64", ()))
    (tmp_path / "a").write_bytes(tiny.tensor_bytes(ARRAYS[0]))
    with pytest.raises(ModelError, match="parameter 'b' is missing"):
        bind_separate(wanted, ["a", "b"], tmp_path)
    (tmp_path / "b").write_bytes(tiny.tensor_bytes(ARRAYS[6]))
    bind_separate(wanted, ["a", "b"], tmp_path)
    assert wanted["b"].data == 7


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "", "a/../../secret", "link", "\0", "x" * 5000, "loop"])
def test_names_stay_in_the_folder(tmp_path, name):
    (tmp_path / "secret").write_bytes(tiny.tensor_bytes(ARRAYS[0]))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to("../secret")
    (folder / "loop").symlink_to("loop")
    with pytest.raises(ModelError):
        bind_separate(parameters(**{name: TensorType("float32", (2, 2))}), [name], folder)


def test_names_with_slashes_may_stay_inside(tmp_path):
    assert inside(tmp_path, "scope/w") == tmp_path / "scope" / "w"
