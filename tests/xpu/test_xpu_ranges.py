"""Kernels that leave their tensors while they stay in an allocation: faults planted in generated kernels and in the library are told."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oarlock
from oarlock.compiler import compile_program, make_target
from oarlock.kernels import Choices
from oarlock.model import load_model

X = {"x": np.random.default_rng(0).standard_normal((1, 4, 20, 20)).astype("f4")}
# transfers one element further on, and a window that is loaded whole also where the tensor ends
PLANTED = {
    "sin": r"s/GM2LM_ASYNC\((.*), (lm[0-9]+) \+/GM2LM_ASYNC(\1 + 1, \2 +/",
    "cummax": r"s/\(size_ - at_ < most \? size_ - at_ : most\)/most/",
}


@pytest.fixture(scope="module", params=sorted(PLANTED))
def chain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, export: Callable[..., Any]) -> tuple[str, Path]:
    """The name of a function, and a model with a kernel generated of it between tensors of the L3 arena."""
    paddle = pytest.importorskip("paddle", reason="paddlepaddle makes the models")
    nn, name = paddle.nn, request.param

    class Net(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2D(4, 5, 3), nn.Conv2D(5, 2, 3)

        def forward(self, x: Any) -> Any:
            y = self.first(x)
            y = paddle.sin(y) * y + paddle.cos(y) if name == "sin" else paddle.cummax(y, axis=1)[0]
            return self.last(y)

    return name, export(Net, tmp_path_factory.mktemp("ranges") / "net", [paddle.static.InputSpec([1, 4, 20, 20], "float32", "x")], 0)[0]


@pytest.mark.parametrize("graphs", ["true", "false"])
def test_a_generated_kernel_that_leaves_its_tensor_in_the_arena(chain: tuple[str, Path], tmp_path: Path, graphs: str) -> None:
    from oarlock_xpu.compiler import toolchain
    from oarlock_xpu.native import compiler

    name, path = chain
    script = tmp_path / "xcc"
    command = shlex.join(toolchain.host_command(compiler(), False))
    script.write_text(
        f'set -e\nsed -E {shlex.quote(PLANTED[name])} "$1" > "$1.planted.cc"\n'
        'if cmp -s "$1" "$1.planted.cc"; then echo "the pattern does not fit what is generated" >&2; exit 1; fi\n'
        f'{command} "$1.planted.cc" -o "$2"\n'
    )
    options = {"xcc": f"sh {script} {{source}} {{output}}", "graphs": graphs}
    windows = Choices(lambda workload, names: next(n for n in names if "shared" not in n))  # shared memory is loaded otherwise
    artifact = compile_program(load_model(path), make_target("xpu/r200", None, options), None, windows)
    read = [row for row in artifact.manifest["memory"]["tensors"] if "Conv2D" in row[0] and row[1] == "value"]
    assert read and all(isinstance(row[6], int) for row in read), "what the kernel reads lies in the arena"
    with oarlock.Session(artifact) as session, pytest.raises(Exception, match="a kernel failed") as error:
        session.run(X)
    told = r"kernel \w+_kernel \(\S+\.cc:\d+\), cluster \d+, core \d+: GM2LM\w* at \S+\.cc:\d+: \d+ bytes at 0x\w+ end \d+ bytes past "
    assert re.search(told + r"the end of tensor '\w+', which has 6480 bytes at 0x", str(error.value)), error.value


LIBRARY = """
import json, sys
import numpy as np, tvm, tvm_ffi
from oarlock_xpu import device, native
native.load(); device.become("r200")
xpu = tvm.ext_dev(0)
both = tvm.runtime.empty((512,), "float32", xpu)
# two tensors of one allocation, as in the arena: views of its halves
part = lambda at: both._create_view([128], "float32", at * 4)
function = tvm_ffi.get_global_func("oarlock_xpu.library_module")(json.dumps({"f": {"api": "exp", "inputs": ["x"]}}))["f"]
function(part(0), part(256))
xpu.sync()
"""


def test_a_library_function_that_leaves_its_tensor(compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library with a fault in one function, which reads 64 bytes too much."""
    from oarlock_xpu import native

    sources = tmp_path / "xpu"
    shutil.copytree(native.sources(), sources)
    file = sources / "kernels" / "src" / "elements.cc"
    text = file.read_text()
    planted = text.replace("GM2LM(x + at, now, size(at) * sizeof(float));", "GM2LM(x + at, now, size(at) * sizeof(float) + 64);")
    assert planted != text
    file.write_text(planted)
    made, scratch = tmp_path / "lib", tmp_path / "scratch"
    made.mkdir()
    scratch.mkdir()
    monkeypatch.setattr(native, "sources", lambda: sources)
    native._build(compiler, native.LIBRARIES, made, scratch)
    command, environment = [sys.executable, "-c", LIBRARY], {**os.environ, native.ENV_LIBRARIES: str(made)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    line = next(i for i, s in enumerate(planted.splitlines(), 1) if "+ 64)" in s)
    told = (
        rf"kernel elements \(elements.cc:\d+\), cluster 0, core 0: GM2LM at elements.cc:{line}: 576 bytes at 0x\w+ end 64 bytes past the "
    )
    assert re.search(told + r"end of tensor 'x' of f, which has 512 bytes", done.stderr), done.stderr
