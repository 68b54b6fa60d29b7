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
loaded = sorted(m for m in sys.modules if m.split(".")[0] in ("tvm", "paddle", "click", "rich"))
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


@pytest.mark.parametrize("order", ["tvm first", "tvm later"])
def test_beside_the_compiler(dense_file: Path, order: str) -> None:
    run = RUN.format(path=str(dense_file))
    use = "import tvm\nassert tvm.tirx.const(1, 'int64').value == 1 and str(tvm.target.Target('llvm'))\n"
    compiler = "assert 'libtvm_compiler' in open('/proc/self/maps').read()\n"
    run_python(use + run + compiler if order == "tvm first" else run + use + run + compiler)


def test_a_folder_with_the_two_libraries_alone(dense_file: Path, tmp_path: Path) -> None:
    spec = importlib.util.find_spec("tvm")
    assert spec is not None and spec.submodule_search_locations
    for name in ("libtvm_runtime.so", "libtvm_runtime_extra.so"):
        (source,) = Path(spec.submodule_search_locations[0]).glob(f"lib*/{name}")
        shutil.copy(source, tmp_path)
    hide_tvm = "import sys\nsys.modules['tvm'] = None\n"
    used = f"assert {str(tmp_path)!r} in open('/proc/self/maps').read()\ndel sys.modules['tvm']\n"
    run_python(hide_tvm + RUN.format(path=str(dense_file)) + used + ALONE, OARLOCK_RUNTIME_DIR=str(tmp_path))


def test_a_runtime_that_is_missing(dense_file: Path, tmp_path: Path) -> None:
    expect = (
        "import oarlock\n"
        "try:\n    oarlock.load({path!r})\n"
        "except oarlock.OarlockError as e:\n    assert {text!r} in str(e), e\n"
        "else:\n    raise SystemExit('it was loaded')\n"
    )
    path = str(dense_file)
    run_python(expect.format(path=path, text=str(tmp_path)), OARLOCK_RUNTIME_DIR=str(tmp_path))
    run_python("import sys\nsys.modules['tvm'] = None\n" + expect.format(path=path, text="install apache-tvm"))
    (tmp_path / "libtvm_runtime.so").write_bytes(b"no library")
    run_python(expect.format(path=path, text="does not load"), OARLOCK_RUNTIME_DIR=str(tmp_path))
