"""TVM's own RPC with a page in headless Chromium: TVM's client, proxy, tracker and RPCRunner are the stock ones."""

from __future__ import annotations

import importlib.util
import inspect
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from endless import endless
from having import linker

from oarlock import cli, errors
from oarlock.targets.web import chromium, module

pytestmark = [
    linker,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("tornado", "cloudpickle", "psutil")), reason="there is no oarlock[rpc]"
    ),
    pytest.mark.skipif(chromium.find() is None, reason="there is no Chromium"),
]
RNG = np.random.default_rng(7)
A, B = (RNG.standard_normal(shape).astype("float32") for shape in ((24, 40), (40, 16)))
SESSION_S = 4


@pytest.fixture(scope="module")
def kernels() -> bytes:
    import rpc_kernels

    from oarlock.targets.web import rpc

    return rpc.wasm(rpc_kernels.Kernels)


@pytest.fixture(scope="module")
def served() -> Iterator:
    from oarlock.targets.web import rpc

    with rpc.serve() as served:
        yield served


@pytest.fixture
def connect(served) -> Iterator[Callable]:
    """Opens a session of TVM's client; sessions end with the test, also where it fails: the page serves one at a time."""
    from tvm import rpc

    opened: list = []

    def close() -> None:
        while opened:
            opened.pop()._sess.get_function("CloseRPCConnection")()

    def connect(content: bytes | None, **more: object):
        close()
        arguments = ["rpc.WasmSession", content] if content is not None else None
        opened.append(rpc.connect(served.host, served.port, served.key, session_constructor_args=arguments, **more))
        return opened[-1]

    yield connect
    close()


@pytest.fixture
def remote(connect: Callable, kernels: bytes):
    return connect(kernels)


def on(remote, *arrays: np.ndarray) -> list:
    import tvm

    return [tvm.runtime.tensor(array, remote.cpu(0)) for array in arrays]


def right(remote) -> None:
    """Its product is."""
    a, b, c = on(remote, A, B, np.full((24, 16), np.nan, "float32"))
    remote.system_lib()["main"](a, b, c)
    np.testing.assert_allclose(c.numpy(), A.astype("float64") @ B.astype("float64"), rtol=1e-5, atol=1e-5)


# ---- arrays -----------------------------------------------------------------------------------------------------------------


def test_arrays_go_there_and_back(remote) -> None:
    import ml_dtypes
    import tvm

    names = "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float16 float32 float64".split()
    for dtype in [*map(np.dtype, names), np.dtype(ml_dtypes.bfloat16)]:
        for shape in ((3, 5, 7), (1,), (), (0, 4)):
            sent = RNG.integers(0, 256, (*shape, dtype.itemsize), "uint8").view(dtype).reshape(shape)
            if dtype.kind == "b":
                sent = RNG.integers(0, 2, shape).astype(bool)
            got = on(remote, sent)[0].numpy()
            assert got.dtype == dtype and got.shape == shape
            assert got.tobytes() == sent.tobytes(), f"{dtype} {shape}"
    assert remote.cpu(0).exist and not remote.webgpu(0).exist
    (first,) = on(remote, A)
    second = tvm.runtime.empty(A.shape, "float32", remote.cpu(0))
    first.copyto(second)
    np.testing.assert_array_equal(second.numpy(), A)
    remote.cpu(0).sync()


def test_more_than_a_message_holds(remote) -> None:
    sent = RNG.standard_normal(1_500_000)  # 12 MB
    np.testing.assert_array_equal(on(remote, sent)[0].numpy(), sent)


def test_memory_of_arrays_that_went_is_used_again(remote) -> None:
    import tvm

    for _ in range(60):  # 6 GB in all
        tvm.runtime.empty((25_000_000,), "float32", remote.cpu(0))
    right(remote)


# ---- calls ------------------------------------------------------------------------------------------------------------------


def test_a_product(remote) -> None:
    right(remote)


def test_numbers_and_any_length(remote) -> None:
    scale = remote.system_lib()["scale"]
    for length in (1, 5, 1000):
        x = RNG.standard_normal(length).astype("float32")
        (there,) = on(remote, x)
        scale(there, 3, 0.5)
        np.testing.assert_array_equal(there.numpy(), x * np.float32(0.5) + 3)


@pytest.mark.parametrize("prefixed", [True, False])
def test_work_space_and_parallel_loops(connect: Callable, prefixed: bool) -> None:
    """Of a system library, and of a module that TVM built as any other: that calls the runtime through pointers."""
    import rpc_kernels
    import tvm

    from oarlock.targets.web import rpc

    built = rpc_kernels.Kernels if prefixed else tvm.tirx.build(rpc_kernels.Kernels, target=rpc.target())
    content = rpc.wasm(built)
    assert prefixed == ("__TVMBackendAllocWorkspace" not in module.exported(content))
    remote = connect(content)
    x = RNG.standard_normal(1024).astype("float32")
    a, b = on(remote, x, np.zeros(1024, "float32"))
    for _ in range(3):
        remote.system_lib()["worked"](a, b)
    wanted = [math.exp(value) + math.erf(value) for value in x.tolist()]
    np.testing.assert_allclose(b.numpy(), wanted, rtol=1e-5, atol=1e-6)


def test_modules_are_uploaded_and_share_arrays(connect: Callable, kernels: bytes) -> None:
    import rpc_kernels

    from oarlock.targets.web import rpc

    remote = connect(None)
    with pytest.raises(Exception, match="began without a module"):
        remote.system_lib()
    remote.upload(bytearray(kernels), "kernels.wasm")
    remote.upload(bytearray(rpc.wasm(rpc_kernels.Others)), "others.wasm")
    assert sorted(remote.listdir("").split(",")) == ["kernels.wasm", "others.wasm"]
    assert bytes(remote.download("kernels.wasm")) == kernels
    first, second = remote.load_module("kernels.wasm"), remote.load_module("others.wasm")
    x = np.arange(7, dtype="int32")
    (whole,) = on(remote, x)
    a, b, c = on(remote, A, B, np.zeros((24, 16), "float32"))
    for _ in range(2):  # each time the other's data lie where this one's were
        second["main"](whole)
        x = x * x + 3
        first["main"](a, b, c)
        with pytest.raises(Exception, match=r"Invalid C\.shape"):
            first["main"](a, b, a)
        with pytest.raises(Exception, match=r"Mismatched A\.ndim"):
            second["main"](a)
    np.testing.assert_array_equal(whole.numpy(), x)
    np.testing.assert_allclose(c.numpy(), A.astype("float64") @ B.astype("float64"), rtol=1e-5, atol=1e-5)
    second.import_module(first)
    (one,) = on(remote, np.ones(4, "float32"))
    second.get_function("scale", True)(one, 1, 2.0)
    np.testing.assert_array_equal(one.numpy(), np.full(4, 3, "float32"))
    remote.remove("others.wasm")
    assert remote.listdir("") == "kernels.wasm"
    with pytest.raises(Exception, match="there is no file others"):
        remote.load_module("others.wasm")


# ---- times ------------------------------------------------------------------------------------------------------------------


def test_the_time_evaluator(remote) -> None:
    lib, dev = remote.system_lib(), remote.cpu(0)
    (x,) = on(remote, np.zeros(1 << 18, "float32"))
    begin = time.monotonic()
    one = lib.time_evaluator("chain", dev, number=1, repeat=5, min_repeat_ms=20)(x, 1)
    took = time.monotonic() - begin
    eight = lib.time_evaluator("chain", dev, number=1, repeat=5)(x, 8)
    assert len(one.results) == len(eight.results) == 5
    assert 0.1 <= took  # 5 × 20 ms at least
    assert 0 < one.min <= took / 5 and one.min < eight.min
    a, b, c = on(remote, A, B, np.zeros((24, 16), "float32"))
    fast = lib.time_evaluator("main", dev, number=1, repeat=4, f_preproc="cache_flush_cpu_non_first_arg")(a, b, c)
    assert len(fast.results) == 4 and all(seconds > 0 for seconds in fast.results)  # though the clock has no such steps
    begin = time.monotonic()
    lib.time_evaluator("main", dev, number=1, repeat=3, cooldown_interval_ms=150, repeats_to_cooldown=1)(a, b, c)
    assert time.monotonic() - begin >= 0.45
    with pytest.raises(Exception, match="there is no function nothing"):
        lib.time_evaluator("nothing", dev)


def test_the_page_has_a_fine_clock(served) -> None:
    with urllib.request.urlopen(served.address()) as answer:
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"


# ---- what goes wrong --------------------------------------------------------------------------------------------------------


def test_wrong_arguments_are_exceptions(remote) -> None:
    lib = remote.system_lib()
    a, b, c = on(remote, A, B, np.zeros((24, 16), "float32"))
    for arguments, what in (
        ((a, b, b), r"Invalid C\.shape"),
        ((a, b), r"[Ee]xpected 3|num_args"),
        ((a, b, on(remote, np.zeros((24, 16)))[0]), "float32"),
        ((a, b, 3), "C"),
        ((a, b, "text"), "kernels take arrays and numbers; argument 2 is neither"),
    ):
        with pytest.raises(Exception, match=what) as caught:
            lib["main"](*arguments)
        assert type(caught.value).__name__ == "RPCError"
        right(remote)
    with pytest.raises(AttributeError):
        lib["nothing"]
    with pytest.raises(AttributeError):
        remote.get_function("nothing")
    right(remote)


def test_a_kernel_that_traps(remote) -> None:
    import tvm

    (x,) = on(remote, np.zeros(8, "float32"))
    with pytest.raises(tvm.error.RPCError, match=r"the kernel failed: memory access out of bounds\s+where: far"):
        remote.system_lib()["far"](x, 1 << 28)
    right(remote)


@pytest.mark.parametrize(
    "content, what",
    [
        (b"\x7fELF and more", "no WebAssembly module"),
        (b"\0asm\1\0\0\0" + bytes([5, 3, 1, 0, 1]), "no functions that take packed arguments"),
        (b"\0asm\1\0\0\0" + b"\1\4\1\x60\0\0" + b"\2\x0d\1\3env\5abort\0\0", "functions that this page does not have: abort"),
        (b"\0asm\1\0\0\0\1", "this engine cannot run the module"),
    ],
)
def test_files_that_are_no_such_modules(connect: Callable, kernels: bytes, content: bytes, what: str) -> None:
    with pytest.raises(Exception, match=what):
        connect(content)
    right(connect(kernels))


def hung(kernels: bytes) -> bytes:
    functions = [name for name in module.imports(kernels) if name != "memory"]
    return endless(kernels, "__tvm_ffi_far", len(functions))


def test_a_session_whose_time_is_over(connect: Callable, kernels: bytes) -> None:
    import tvm

    remote = connect(hung(kernels), session_timeout=SESSION_S)
    (x,) = on(remote, np.zeros(8, "float32"))
    begin = time.monotonic()
    with pytest.raises(tvm.error.RPCSessionTimeoutError, match="has expired"):
        remote.system_lib()["far"](x, 0)
    assert time.monotonic() - begin < SESSION_S + 3
    right(connect(kernels))


def test_a_client_that_is_killed_while_a_kernel_hangs(connect: Callable, served, kernels: bytes, tmp_path: Path) -> None:
    (tmp_path / "hung.wasm").write_bytes(hung(kernels))
    program = f"""
        import numpy as np, tvm
        from tvm import rpc
        module = open("hung.wasm", "rb").read()
        remote = rpc.connect("{served.host}", {served.port}, "{served.key}", session_constructor_args=["rpc.WasmSession", module])
        x = tvm.runtime.tensor(np.zeros(8, "float32"), remote.cpu(0))
        kernel = remote.system_lib()["far"]
        print("calls", flush=True)
        kernel(x, 0)
    """
    client = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, stdout=subprocess.PIPE)
    assert client.stdout is not None and client.stdout.readline() == b"calls\n"
    time.sleep(0.5)
    assert client.poll() is None
    client.kill()
    client.wait()
    client.stdout.close()
    right(connect(kernels))


def test_a_browser_that_is_killed_comes_again(connect: Callable, served, kernels: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    from oarlock.targets.web.rpc import serving

    monkeypatch.setattr(serving, "GONE_S", 0.5)
    before = served._browser.process
    os.killpg(before.pid, signal.SIGKILL)
    before.wait()
    right(connect(kernels))  # the proxy lets it wait
    assert served._browser.process is not before


def test_what_cannot_be_a_module() -> None:
    import rpc_kernels
    import tvm
    from tvm import relax

    from oarlock.targets.web import rpc

    block = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((2,), "float32"))
    with block.function("whole", [x]):
        block.emit_func_output(x)
    with pytest.raises(errors.InputError, match="not whole"):
        rpc.wasm(block.get())
    with pytest.raises(errors.InputError, match="not int"):
        rpc.wasm(3)
    with pytest.raises(errors.InputError, match="one thread"):
        rpc.target("simd128-threads")
    with pytest.raises(errors.TargetError, match="variant must be one of"):
        rpc.wasm(rpc_kernels.Others, variant="simd512")

    from tvm.script import tirx as T

    called = tvm.tirx.PrimFunc([], tvm.tirx.Evaluate(T.call_packed("my.function", 1)))
    with pytest.raises(errors.UnsupportedError, match="TVMFFI"):
        rpc.wasm(called)


# ---- the proxy --------------------------------------------------------------------------------------------------------------


def test_it_listens_on_loopback_alone(served) -> None:
    import psutil

    listening = [c.laddr for c in psutil.Process(served._proxy.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert sorted((a.ip, a.port) for a in listening) == sorted([("127.0.0.1", served.port), ("127.0.0.1", served.web_port)])


def test_tvm_gives_its_web_server_no_host_still() -> None:
    """Else compat_rpc.serve_proxy need not replace Application.listen."""
    from tvm.rpc import proxy

    assert not {"host", "web_host", "address"} & set(inspect.signature(proxy.ProxyServerHandler.__init__).parameters)


def test_arguments(served) -> None:
    from oarlock.targets.web import rpc

    for arguments, what in (({"key": "a b"}, "a key is of"), ({"tracker": "9190"}, "host:port"), ({"browser": "mine"}, "browser must be")):
        with pytest.raises(errors.InputError, match=what):
            rpc.serve(**arguments)
    with pytest.raises(errors.TargetError, match="cannot listen"):
        rpc.serve(port=served.port, browser="none")
    with pytest.raises(errors.TargetError, match="there is no tracker"):
        rpc.serve(tracker="127.0.0.1:1", browser="none")


def test_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    from oarlock.targets.web import rpc

    def interrupted(self: rpc.Served) -> None:
        assert self.pages() == 0
        raise KeyboardInterrupt

    monkeypatch.setattr(rpc.Served, "join", interrupted)
    done = CliRunner().invoke(cli.main, ["web", "rpc", "--port", "0", "--key", "mine", "--browser", "none"])
    assert done.exit_code == 0, done.output
    assert "?key=mine" in done.output and '"mine", session_constructor_args=["rpc.WasmSession", module])' in done.output


# ---- MetaSchedule -----------------------------------------------------------------------------------------------------------


def test_the_stock_runner_measures(capfd: pytest.CaptureFixture) -> None:
    """Through a tracker: a candidate, one that hangs, and one after that."""
    import rpc_kernels
    from tvm.rpc.tracker import Tracker
    from tvm.s_tir import meta_schedule as ms

    from oarlock.targets.web import rpc

    mod = rpc_kernels.Kernels
    only = type(mod)({"main": mod["main"]})
    builder = ms.builder.LocalBuilder(max_workers=1, timeout_sec=120, f_build=rpc.build, f_export=rpc.export)
    (built,) = builder.build([ms.builder.BuilderInput(only, rpc.target())])
    assert built.error_msg is None, built.error_msg
    hangs = Path(built.artifact_path).with_name("hangs.wasm")
    content = Path(built.artifact_path).read_bytes()
    hangs.write_bytes(endless(content, "__tvm_ffi_main", len([n for n in module.imports(content) if n != "memory"])))
    tracker = Tracker(host="127.0.0.1", port=9190, port_end=9290, silent=True)
    try:
        with rpc.serve(tracker=f"127.0.0.1:{tracker.port}") as served:
            config = ms.runner.RPCConfig("127.0.0.1", tracker.port, served.key, session_timeout_sec=10)
            runner = ms.runner.RPCRunner(config, ms.runner.EvaluatorConfig(number=1, repeat=3, min_repeat_ms=2))
            arguments = ms.arg_info.ArgInfo.from_prim_func(mod["main"])
            inputs = [ms.runner.RunnerInput(str(path), "cpu", arguments) for path in (built.artifact_path, hangs, built.artifact_path)]
            first, second, third = (future.result() for future in runner.run(inputs))
    finally:
        tracker.terminate()
    for result in (first, third):
        assert result.error_msg is None, result.error_msg
        assert len(result.run_secs) == 3 and all(0 < float(s) < 0.1 for s in result.run_secs)
    assert second.run_secs is None and "has expired" in second.error_msg
