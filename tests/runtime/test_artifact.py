"""The artifact file: what is written is read, and nothing else is."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import ml_dtypes
import numpy as np
import pytest

from oarlock import ArtifactError
from oarlock.runtime.artifact import ALIGNMENT, FORMAT_VERSION, Artifact, Part
from oarlock.runtime.signature import Signature, TensorSpec

SIGNATURE = Signature(
    (TensorSpec("x", "float32", ("n", 3, None)), TensorSpec("ids", "int64", ())),
    (TensorSpec("y", "bfloat16", ("n * 2", "n // 2")), TensorSpec("z", "bool", None)),
)
WEIGHTS: dict[str, np.ndarray] = {
    "float32": np.arange(33, dtype="float32").reshape(3, 11),
    "float16": np.linspace(-2, 2, 7).astype("float16"),
    "bfloat16": np.linspace(-2, 2, 5).astype(ml_dtypes.bfloat16),
    "bool": np.array([[True, False, True]]),
    "int8": np.arange(-128, 128, dtype="int8"),
    "int64": np.array(-(2**60)),
    "empty": np.zeros((4, 0, 2), "float32"),
    "transposed": np.arange(12, dtype="float64").reshape(3, 4).T,
    "last byte": np.array([7], "uint8"),
}


def sample() -> Artifact:
    return Artifact(b"\x7fELF and so on", list(WEIGHTS.values()), SIGNATURE, {"target": "cpu", "note": "é"}, list(WEIGHTS))


def assert_same(a: Artifact, b: Artifact) -> None:
    assert a.library == b.library and a.signature == b.signature and a.names == b.names
    for x, y in zip(a.weights, b.weights, strict=True):
        assert x.dtype == y.dtype and x.shape == y.shape
        assert np.array_equal(x, y)


def test_round_trip(tmp_path: Path) -> None:
    read = Artifact.load(sample().save(tmp_path / "a.oar"))
    assert_same(read, sample())
    assert read.manifest["note"] == "é" and read.manifest["format_version"] == 1
    assert_same(Artifact.load(read.save(tmp_path / "b.oar")), sample())
    assert (tmp_path / "a.oar").read_bytes() == (tmp_path / "b.oar").read_bytes()


class Pipe:
    """A stream that can do nothing but write."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> int:
        self.data += bytes(data)
        return len(data)

    def flush(self) -> None:
        pass


def with_parts() -> Artifact:
    artifact = sample()
    other = Signature((), (TensorSpec("z", "int8", (3,)),))
    artifact.parts = [Part("a", artifact.library, [0, 2], {"runtime": {"chip": "a"}}), Part("b", b"other", [2, 1], {}, other)]
    return artifact


@pytest.mark.parametrize("make", [sample, with_parts])
def test_bytes_and_streams_hold_what_a_file_does(tmp_path: Path, make: Callable[[], Artifact]) -> None:
    file, pipe = make().save(tmp_path / "a.oar").read_bytes(), Pipe()
    make().write(cast("BinaryIO", pipe))
    assert make().to_bytes() == file
    for source in (file, bytearray(pipe.data), io.BytesIO(pipe.data)):
        read = Artifact.load(source)
        assert_same(read, make())
        assert all(w.ctypes.data % ALIGNMENT == 0 for w in read.weights if w.size)
        assert read.to_bytes() == file
    for end in (0, 3, 40, len(file) // 2, len(file) - 1):
        with pytest.raises(ArtifactError):
            Artifact.load(file[:end])


def test_parts_share_weights() -> None:
    read = Artifact.load(with_parts().to_bytes())
    a, b = read.part("a"), read.part("b")
    assert a.runtime == {"chip": "a"} and a.signature == read.signature and a.library == read.library
    assert b.library == b"other" and b.signature.outputs[0].name == "z" and b.names == [read.names[2], read.names[1]]
    assert a.weights[1] is b.weights[0] is read.weights[2]
    with pytest.raises(ArtifactError, match="no part 'c'"):
        read.part("c")
    for key, value in {"weights": [99], "facts": [], "name": 3}.items():
        data = with_parts()
        setattr(data.parts[0], key, value)
        with pytest.raises(ArtifactError, match="damaged"):
            Artifact.load(data.to_bytes())


def test_weights_are_mapped_aligned_and_private(tmp_path: Path) -> None:
    path = sample().save(tmp_path / "a.oar")
    before = path.read_bytes()
    for weight in Artifact.load(path).weights:
        if weight.size:
            assert not weight.flags.owndata and weight.ctypes.data % ALIGNMENT == 0
            weight.reshape(-1).view(np.uint8)[:] = 0
    assert path.read_bytes() == before
    assert_same(Artifact.load(path), sample())


def test_is_a_zip_file_that_zip_tools_accept(tmp_path: Path) -> None:
    with zipfile.ZipFile(sample().save(tmp_path / "a.oar")) as archive:
        assert archive.testzip() is None
        assert archive.read("library.so") == sample().library


def test_no_weights(tmp_path: Path) -> None:
    empty = Artifact(b"x", [], Signature((), ()))
    assert_same(Artifact.load(empty.save(tmp_path / "a.oar")), empty)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = sample().save(tmp_path / "a.oar")
    before = path.read_bytes()
    broken = sample()
    broken.manifest["target"] = object()  # not JSON
    with pytest.raises(TypeError):
        broken.save(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be written"):
        sample().save(tmp_path / "no" / "a.oar")


def test_cut_short_anywhere(tmp_path: Path) -> None:
    data = sample().save(tmp_path / "a.oar").read_bytes()
    cut = tmp_path / "cut.oar"
    for length in [*range(0, 200, 7), *range(200, len(data), 97), len(data) - 1]:
        cut.write_bytes(data[:length])
        with pytest.raises(ArtifactError):
            Artifact.load(cut)


def test_any_flipped_bit_is_found_or_harmless(tmp_path: Path) -> None:
    data = sample().save(tmp_path / "a.oar").read_bytes()
    rng, flipped, found = random.Random(0), tmp_path / "flipped.oar", 0
    for _ in range(600):
        place = rng.randrange(len(data))
        damaged = bytearray(data)
        damaged[place] ^= 1 << rng.randrange(8)
        flipped.write_bytes(damaged)
        try:
            read = Artifact.load(flipped)
        except ArtifactError:
            found += 1
        else:
            assert_same(read, sample())  # padding, dates and the like
    assert found > 300


FOREIGN = {"empty": b"", "two bytes": b"PK", "start": b"PK\x03\x04", "no member": b"PK\x05\x06" + bytes(18), "elf": b"\x7fELF" + bytes(100)}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_foreign_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ArtifactError) as error:
        Artifact.load(tmp_path / "a")
    assert str(tmp_path / "a") in str(error.value)


def test_missing_file_folder_and_other_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "hello")
    for path in (tmp_path / "missing", tmp_path, tmp_path / "other.zip"):
        with pytest.raises(ArtifactError):
            Artifact.load(path)


def forge(tmp_path: Path, compression: int = zipfile.ZIP_STORED, **documents: Any) -> Path:
    """An artifact, whose checksums are right, with some members' contents replaced."""
    good = sample().save(tmp_path / "good.oar")
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(tmp_path / "forged.oar", "w", compression) as out:
        for info in source.infolist():
            stem = info.filename.split(".")[0]
            new = documents.get(stem)
            out.writestr(info.filename, source.read(info) if new is None else new if isinstance(new, bytes) else json.dumps(new))
    return tmp_path / "forged.oar"


def weight(**change: Any) -> list[dict[str, Any]]:
    return [{"name": "w", "dtype": "float32", "shape": [2], "offset": 0, "bytes": 8, **change}]


@pytest.mark.parametrize(
    "documents",
    [
        {"manifest": {"format": "oarlock", "format_version": FORMAT_VERSION + 1, "oarlock": "9.0"}},
        {"manifest": {"format": "oarlock", "format_version": "1"}},
        {"manifest": {"format": "other", "format_version": 1}},
        {"manifest": {"format": "oarlock", "format_version": 1, "target": 3}},
        {"manifest": {"format": "oarlock", "format_version": 1, "runtime": {"features": [[]]}}},
        {"manifest": []},
        {"manifest": b"{"},
        {"manifest": b"[" * 100_000},
        {"signature": {"inputs": []}},
        {"signature": {"inputs": [{"name": "x", "dtype": "float32", "shape": None}], "outputs": []}},
        {"signature": {"inputs": [{"name": "x", "dtype": "complex32", "shape": []}], "outputs": []}},
        {"signature": {"inputs": [{"name": "x", "dtype": "int8", "shape": [-1]}], "outputs": []}},
        {"signature": {"inputs": [{"name": "x", "dtype": "int8", "shape": [1.5]}], "outputs": []}},
        {"signature": {"inputs": [{"name": "x", "dtype": "int8", "shape": [1] * 99}], "outputs": []}},
        {"signature": {"inputs": [{"name": "x", "dtype": "int8", "shape": []}] * 2, "outputs": []}},
        {"weights": {}},
        {"weights": [3]},
        {"weights": weight(offset=-8)},
        {"weights": weight(offset=1 << 70)},
        {"weights": weight(bytes=4)},
        {"weights": weight(shape=[1 << 62, 1 << 62], bytes=0)},
        {"weights": weight(shape=[1 << 40], bytes=1 << 42)},
        {"weights": weight(shape=[1 << 40, 1 << 40, 0], bytes=0)},
        {"weights": weight(shape=[-1], bytes=-4)},
        {"weights": weight(dtype="object")},
        {"weights": weight(dtype="U4")},
        {"weights": weight(shape=[True, "2"])},
    ],
    ids=lambda d: str(d)[:70],
)
def test_forged_members(tmp_path: Path, documents: dict[str, Any]) -> None:
    path = forge(tmp_path)
    if "weights" in documents:
        # the index and the data share a stem: replace the index only
        index = json.dumps(documents["weights"])
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "f.oar", "w") as out:
            for info in source.infolist():
                out.writestr(info.filename, index if info.filename == "weights.json" else source.read(info))
        path = tmp_path / "f.oar"
    else:
        path = forge(tmp_path, **documents)
    with pytest.raises(ArtifactError):
        Artifact.load(path)


def test_newer_format_says_so(tmp_path: Path) -> None:
    manifest = {"format": "oarlock", "format_version": FORMAT_VERSION + 1, "oarlock": "9.1"}
    with pytest.raises(ArtifactError, match="upgrade oarlock .*9.1"):
        Artifact.load(forge(tmp_path, manifest=manifest))


def test_recompressed_by_a_zip_tool(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="compressed"):
        Artifact.load(forge(tmp_path, zipfile.ZIP_DEFLATED))


def test_damaged_weights_pass_only_unverified(tmp_path: Path) -> None:
    path = sample().save(tmp_path / "a.oar")
    data = bytearray(path.read_bytes())
    data[data.index(np.arange(33, dtype="float32").tobytes())] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="weights.bin is damaged"):
        Artifact.load(path)
    assert Artifact.load(path, verify=False).weights[0][0, 0] != 0


@pytest.mark.parametrize("path", ["", "/"])
def test_a_path_that_names_no_file(path: str) -> None:
    with pytest.raises(ArtifactError, match="names no file"):
        sample().save(path)
