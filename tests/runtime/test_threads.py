"""The pool of threads in compiled libraries (targets/cpu/threads.c): right results, errors, forks, exits, and rest."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tvm
from thread_models import BAD, checked, expected, rows, serial, waves
from tvm import relax

from oarlock import Artifact, OarlockError, Session
from oarlock.runtime.profile import profile

SIZES = (1, 2, 3, 5, 8, 31, 64, 65, 1000)


@pytest.fixture(scope="module")
def model() -> Artifact:
    return waves()


@pytest.fixture(scope="module")
def file(model: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model.save(tmp_path_factory.mktemp("threads") / "waves.oar")


def check(session: Session, n: int) -> None:
    x = rows(n)
    # a multiply-add may be one instruction: another rounding
    np.testing.assert_allclose(session.run({"x": x})["y"], expected(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 100])
def test_same_results_on_any_number_of_threads(model: Artifact, threads: int) -> None:
    alone, session = Session(model, threads=1), Session(model, threads=threads)
    for n in SIZES:
        check(session, n)
        np.testing.assert_array_equal(session.run({"x": rows(n)})["y"], alone.run({"x": rows(n)})["y"])


def test_an_empty_loop(model: Artifact) -> None:
    assert Session(model).run({"x": rows(0)})["y"].shape == (0, 64)


def test_sessions_with_different_threads_take_turns(model: Artifact) -> None:
    sessions = [Session(model, threads=n) for n in (4, 1, 2, 3)]
    for _ in range(50):
        for session in sessions:
            check(session, 33)


@pytest.mark.parametrize("shared", [True, False], ids=["one session", "a session each"])
def test_calls_from_many_threads(model: Artifact, shared: bool) -> None:
    sessions = [Session(model, threads=2 + i % 2) for i in range(1 if shared else 4)] * (4 if shared else 1)
    run_together([lambda s=s: [check(s, n) for n in (*SIZES, *SIZES)] for s in sessions])  # type: ignore[misc]


def run_together(calls: list[Callable[[], object]]) -> None:
    """Every call in a thread of its own; the first exception is raised again."""
    failures: list[BaseException] = []

    def guarded(call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_the_first_session_may_go(file: Path) -> None:
    """The threads are in its library."""
    run_python(f"""
first = oarlock.load({str(file)!r})
use(first)
first.close()
del first
gc.collect()
for _ in range(3):
    use(oarlock.load({str(file)!r}, threads=3))
    gc.collect()
""")


def test_sessions_share_their_threads(file: Path) -> None:
    run_python(f"""
sessions = [oarlock.load({str(file)!r}, threads=n) for n in (1, 2, 4, 3, 2, 4)]
for session in sessions + sessions:
    use(session)
tasks(3)
""")


def test_a_failed_iteration_is_reported() -> None:
    session = Session(checked(), threads=3)
    for at in (0, 10, 63):
        x = rows(64)
        x[at, 0] = BAD
        with pytest.raises(OarlockError, match="a row is bad"):
            session.run({"x": x})
        np.testing.assert_array_equal(session.run({"x": rows(64)})["y"], -rows(64))
    x[:, 0] = BAD
    with pytest.raises(OarlockError, match="a row is bad"):
        session.run({"x": x})


def test_errors_stay_with_their_callers() -> None:
    artifact = checked()

    def good(session: Session) -> None:
        for _ in range(200):
            np.testing.assert_array_equal(session.run({"x": rows(64)})["y"], -rows(64))

    def bad(session: Session) -> None:
        for _ in range(200):
            x = rows(64)
            x[::7, 0] = BAD
            with pytest.raises(OarlockError, match="a row is bad"):
                session.run({"x": x})

    run_together([lambda f=f: f(Session(artifact, threads=3)) for f in (good, bad, good, bad)])  # type: ignore[misc]


@pytest.mark.parametrize("executor", ["aot", "vm"])
def test_all_executors_use_it(executor: str, file: Path) -> None:
    artifact = waves(executor=executor)
    session = Session(artifact)
    check(session, 40)
    if executor == "vm":
        assert any(kernel.name == "kernel" and kernel.calls == 1 for kernel in profile(session, {"x": rows(40)}, runs=2))
    path = artifact.save(file.with_name(f"{executor}.oar"))
    run_python(f"use(oarlock.load({str(path)!r}, threads=3))\ntasks(2)")


def test_tvm_s_pool_serves_what_has_none(dense_file: Path, file: Path) -> None:
    """A library from before, and no threads for one without parallel loops."""
    run_python(f"""
from oarlock.runtime import tvm_runtime
calls = []
tvm_runtime.use_threads = calls.append
oarlock.load({str(dense_file)!r}, threads=1).run({{"x": np.ones((2, 16), "float32")}})
assert calls == [1]
use(oarlock.load({str(file)!r}, threads=2))
assert calls == [1]
""")


def test_a_library_without_a_session(model: Artifact, tmp_path: Path) -> None:
    """As TVM loads it: its loops run on TVM's pool."""
    path = tmp_path / "library.so"
    path.write_bytes(model.library)
    main = relax.VirtualMachine(tvm.runtime.load_module(str(path)), tvm.cpu())["main"]
    given = [tvm.runtime.tensor(a) for a in (rows(40), *model.weights)]
    np.testing.assert_allclose(main(*given)[0].numpy(), expected(rows(40)), rtol=1e-5, atol=1e-6)


def test_no_pool_without_loops() -> None:
    artifact = serial()
    assert b"oarlock_threads" not in artifact.library
    x = rows(3)
    np.testing.assert_array_equal(Session(artifact).run({"x": x})["y"], -x)


def test_a_forked_child_runs(file: Path) -> None:
    run_python(f"""
session = oarlock.load({str(file)!r}, threads=3)
use(session)
for _ in range(5):
    child = os.fork()
    if not child:
        signal.alarm(30)
        use(session)
        use(oarlock.load({str(file)!r}, threads=4))
        tasks(3)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    use(session)
""")


def test_a_child_forked_from_within_calls(file: Path) -> None:
    """The session that ran says that it cannot go on; another one runs."""
    run_python(f"""
busy, other = oarlock.load({str(file)!r}, threads=2), oarlock.load({str(file)!r}, threads=2)
use(other)
stop = []
def work():
    x = np.ones((20000, 64), "float32")  # long in its loops: TVM's allocator has a lock, too, which is open then
    while not stop:
        busy.run({{"x": x}})
thread = threading.Thread(target=work)
thread.start()
said = 0
for _ in range(6):
    child = os.fork()
    if not child:
        signal.alarm(30)
        status = 2
        try:
            use(other)
            use(oarlock.load({str(file)!r}, threads=2))
            use(busy)
            status = 0
        except oarlock.OarlockError as error:
            status = 1 if "forked" in str(error) else 3
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 1), status
    said += status
stop.append(1)
thread.join()
assert said, "never in the middle of a call"
""")


def test_threads_at_rest_take_no_time(file: Path) -> None:
    run_python(f"""
session = oarlock.load({str(file)!r}, threads=4)
use(session)
tasks(3)
time.sleep(0.2)
before = time.process_time()
time.sleep(1)
assert time.process_time() - before < 0.05
""")


@pytest.mark.parametrize("spin", ["0", "1000", "nonsense", ""])
def test_how_long_threads_look_for_work(file: Path, spin: str) -> None:
    run_python(f"session = oarlock.load({str(file)!r}, threads=3)\nfor _ in range(20):\n    use(session)", OARLOCK_SPIN_US=spin)


def test_exit_from_within_a_call(file: Path) -> None:
    run_python(f"""
session = oarlock.load({str(file)!r}, threads=3)
def work():
    while True:
        use(session)
threading.Thread(target=work, daemon=True).start()
time.sleep(0.3)
""")


def test_signals_reach_the_program(file: Path) -> None:
    run_python(f"""
use(oarlock.load({str(file)!r}, threads=4))
got = []
signal.signal(signal.SIGUSR1, lambda *_: got.append(threading.current_thread()))
os.kill(os.getpid(), signal.SIGUSR1)
time.sleep(0.1)
assert got == [threading.main_thread()]
for task in tasks(3):
    (line,) = [line for line in open(f"/proc/self/task/{{task}}/status") if line.startswith("SigBlk")]
    assert int(line.split()[1], 16) >> signal.SIGUSR1 - 1 & 1
""")


_USE = f"""
import gc, os, signal, sys, threading, time
import numpy as np
import oarlock
sys.path.insert(0, {str(Path(__file__).parent)!r})

def use(session):
    x = np.random.default_rng(0).standard_normal((64, 64)).astype("float32")
    y = x * np.float32(2)
    np.testing.assert_allclose(session.run({{"x": x}})["y"], y * y + x, rtol=1e-5, atol=1e-6)

def tasks(wanted):
    # a new one may not have its name yet
    end = time.time() + 20
    while True:
        found = [t for t in os.listdir("/proc/self/task") if open(f"/proc/self/task/{{t}}/comm").read() == "oarlock\\n"]
        if len(found) == wanted:
            return found
        assert time.time() < end, found
        time.sleep(0.01)
"""


def run_python(code: str, **environment: str) -> None:
    """In a process of its own, which loads no compiler and must end."""
    done = subprocess.run(
        [sys.executable, "-c", _USE + code], capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
