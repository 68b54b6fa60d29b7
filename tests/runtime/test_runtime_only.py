"""A process that runs an artifact loads neither the compiler nor Paddle, and gets along with both when they are loaded."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
import sys, numpy, oarlock
outputs = oarlock.load({path!r}).run({{"x": numpy.ones((3, 16), "float32")}})
assert abs(outputs["y"] - outputs["weight"].sum(0)).max() < 1e-4
"""
ALONE = """
loaded = sorted(m for m in sys.modules if m.split(".")[0] in ("tvm", "tvm_ffi", "paddle", "click", "rich"))
assert not loaded, loaded
maps = open("/proc/self/maps").read()
assert "libtvm_compiler" not in maps and "libpaddle" not in maps and "LLVM" not in maps
"""


def run_python(code: str, **environment: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr


def test_no_compiler_and_no_paddle(dense_file: Path) -> None:
    run_python(RUN.format(path=str(dense_file)) + ALONE)


def test_importing_oarlock_is_light() -> None:
    run_python(
        "import sys, oarlock\n"
        "heavy = {'tvm', 'tvm_ffi', 'numpy', 'paddle', 'rich', 'click'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert 'Session' in dir(oarlock) and oarlock.__version__\n"
    )


@pytest.mark.parametrize("order", ["tvm first", "tvm later", "tvm_ffi first", "tvm_ffi later"])
def test_beside_the_compiler(dense_file: Path, order: str) -> None:
    run = RUN.format(path=str(dense_file))
    package, place = order.split()
    use = "import tvm_ffi\nassert tvm_ffi.Shape((1, 2))[1] == 2\n"
    if package == "tvm":
        use += "import tvm\nassert tvm.tirx.const(1, 'int64').value == 1 and str(tvm.target.Target('llvm'))\n"
        use += "assert 'libtvm_compiler' in open('/proc/self/maps').read()\n"
    one_each = (
        "files = {line.split()[-1] for line in open('/proc/self/maps') if 'libtvm' in line}\n"
        "names = [f.split('/')[-1] for f in files]\n"
        "assert {'libtvm_ffi.so', 'libtvm_runtime.so'} <= set(names) and len(set(names)) == len(names), files\n"
    )
    run_python((use if place == "first" else run + use) + run + one_each)


def library(package: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    return next(Path(spec.submodule_search_locations[0]).glob(f"lib*/{name}"))


def hide(*packages: str) -> str:
    return "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in packages)


@pytest.mark.parametrize("own_interface", [True, False], ids=["three libraries", "two libraries"])
def test_a_folder_with_the_libraries_alone(dense_file: Path, tmp_path: Path, own_interface: bool) -> None:
    for name in ("libtvm_runtime.so", "libtvm_runtime_extra.so"):
        shutil.copy(library("tvm", name), tmp_path)
    if own_interface:
        shutil.copy(library("tvm_ffi", "libtvm_ffi.so"), tmp_path)
    hidden = ("tvm", "tvm_ffi") if own_interface else ("tvm",)
    used = (
        "maps = open('/proc/self/maps').read()\n"
        f"there = [name for name in ('ffi', 'runtime', 'runtime_extra') if f'{tmp_path}/libtvm_{{name}}.so' in maps]\n"
        f"assert there == {['ffi', 'runtime', 'runtime_extra'][not own_interface :]}, there\n"
    )
    shown = "".join(f"del sys.modules[{name!r}]\n" for name in hidden)
    run_python(hide(*hidden) + RUN.format(path=str(dense_file)) + used + shown + ALONE, OARLOCK_RUNTIME_DIR=str(tmp_path))


def test_hooks_where_tvm_ffi_is_not(dense_file: Path, tmp_path: Path) -> None:
    """Another library than tvm_ffi's own must not get that one beside it."""
    for package, name in (("tvm", "libtvm_runtime.so"), ("tvm_ffi", "libtvm_ffi.so")):
        shutil.copy(library(package, name), tmp_path)
    refused = (
        "import oarlock\n"
        f"session = oarlock.load({str(dense_file)!r})\n"
        "try:\n    session.instrument(lambda *_: 0)\n"
        "except oarlock.OarlockError as e:\n    assert 'need the package tvm_ffi' in str(e), e\n"
        "else:\n    raise SystemExit('it was taken')\n"
    )
    run_python(refused, OARLOCK_RUNTIME_DIR=str(tmp_path))
    (tmp_path / "libtvm_ffi.so").unlink()
    run_python(
        refused.replace("session.inst", "sys.modules['tvm_ffi'] = None\n    session.inst").replace("import oar", "import sys, oar", 1)
    )


def test_a_runtime_that_is_missing(dense_file: Path, tmp_path: Path) -> None:
    expect = (
        "import oarlock\n"
        "try:\n    oarlock.load({path!r})\n"
        "except oarlock.OarlockError as e:\n    assert {text!r} in str(e), e\n"
        "else:\n    raise SystemExit('it was loaded')\n"
    )
    path = str(dense_file)
    run_python(expect.format(path=path, text=str(tmp_path)), OARLOCK_RUNTIME_DIR=str(tmp_path))
    run_python(hide("tvm_ffi") + expect.format(path=path, text="install apache-tvm-ffi"))
    run_python(hide("tvm") + expect.format(path=path, text="install apache-tvm"))
    (tmp_path / "libtvm_runtime.so").write_bytes(b"no library")
    run_python(expect.format(path=path, text="does not load"), OARLOCK_RUNTIME_DIR=str(tmp_path))
    (tmp_path / "libtvm_ffi.so").write_bytes(b"no library")
    run_python(expect.format(path=path, text="libtvm_ffi.so"), OARLOCK_RUNTIME_DIR=str(tmp_path))
    other = "import oarlock.runtime.ffi\noarlock.runtime.ffi.ABI = (9, 0)\n"
    run_python(other + expect.format(path=path, text="expected 9.0"))
