"""The emulator by programs of its own: what works gives the right numbers, what breaks a rule is told with kernel and line."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "emulator"


@pytest.fixture(scope="module")
def programs(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the compiled programs: faults (checked), works, and works-checked."""
    from oarlock_xpu import native
    from oarlock_xpu.compiler.toolchain import CHECKED

    folder = tmp_path_factory.mktemp("emulator")
    libraries = native.libraries()
    includes = [f"-I{f}" for f in native.include_folders()]
    for name, source, flags in (("faults", "faults", CHECKED), ("works", "works", ()), ("works-checked", "works", CHECKED)):
        line = [compiler, "-std=c++17", "-O1", *flags, *includes, str(HERE / f"{source}.cc"), "-o", str(folder / name)]
        native.run([*line, f"-L{libraries}", "-l:libxpurt.so", f"-Wl,-rpath,{libraries}", "-rdynamic"], source)
    return folder


def run(program: Path, case: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, case], capture_output=True, text=True, timeout=60, check=False)


def line_of(case: str) -> str:
    """The line that the comment with the case's name marks, as messages name it."""
    lines = (HERE / "faults.cc").read_text().splitlines()
    (number,) = [i for i, line in enumerate(lines, 1) if line.rstrip().endswith(f"// {case}")]
    return f"faults.cc:{number}"


@pytest.mark.parametrize("case", ["grids", "barriers", "overlap", "products", "streams", "peers", "ranges", "attributes"])
@pytest.mark.parametrize("program", ["works", "works-checked"])
def test_works(programs: Path, program: str, case: str) -> None:
    done = run(programs / program, case)
    assert done.stdout.strip() == "0", f"check {done.stdout}{done.stderr}"


# the kernel's name, what is said of it, and whether the line that the source marks is named
FAULTS = {
    "past_end": (r"GM2LM at LINE: 256 bytes at 0x\w+ end 64 bytes past the end: .* allocation #1 \(GDDR of device 0, 192 bytes", True),
    "past_local": (r"GM2LM at LINE: 128 bytes from byte 0 of local memory 'lm' \(faults.cc:\d+\), which has 64 bytes", True),
    "local_overflow": (r"local memory overflows: 'second' at LINE takes 2048 bytes, and 1024 of 2048 are taken", True),
    "shared_overflow": (r"shared memory overflows: 'sm' at LINE takes 8196 bytes, and 0 of 8192 are taken", True),
    "never_fenced": (
        r"ends with 1 transfers that were never fenced, the first started at LINE|local memory 'lm' .* ends before the mfence",
        False,
    ),
    "stored_unfenced": (r"LM2GM at LINE: a fence is missing: it uses local memory of the asynchronous load", True),
    "read_unfenced": (r"a read of 4 bytes at LINE comes before the fence of the asynchronous load that was started at faults.cc:\d+", True),
    "overwritten": (r"a write of 4 bytes at faults.cc:\d+ comes before the fence of the asynchronous store that was started at LINE", True),
    "divergent": (r"cluster 0 hangs: core 0 waits in sync_cluster at LINE, and core 3 ended without it", True),
    "shared_race": (r"a race over shared memory: .* with no barrier between them", False),
    "global_race": (r"a race over global memory: written at LINE by cluster 0, core 0, and written at LINE by cluster 0, core 1", True),
    "outside_local": (r"a write of 4 bytes at LINE leaves local memory 'lm' .* which has 16 bytes: it is at byte 16", True),
    "direct": (r"touches global memory without DMA: 0x\w+ is 4 bytes into allocation #2 \(GDDR of device 0, 192 bytes", False),
    "asserts": (r"assertion failed: n < 3 at LINE", True),
    "unit_overflow": (
        r"SDNN_LOAD at LINE: 4 rows of 64 bytes, 80 bytes apart, leave buffer 'tile' \(faults.cc:\d+\), which has 256 bytes",
        True,
    ),
    "past_tensor": (r"GM2LM at LINE: 128 bytes at 0x\w+ end 32 bytes past the end of tensor 'x' of f, which has 96 bytes at 0x", True),
    "behind_tensor": (r"GM2LM at LINE: 16 bytes at 0x\w+ end 16 bytes past the end of tensor 'x' of f, which has 96 bytes", True),
    "to_input": (r"LM2GM at LINE: 64 bytes at 0x\w+ are of tensor 'x' of f, .* and which the kernel may only read", True),
    "other_tensor": (r"GM2LM at LINE: 64 bytes at 0x\w+ are in none of the tensors of f: the address is 0 bytes into allocation #2", True),
    "past_own_tensor": (r"GM2LM at LINE: 32 bytes at 0x\w+ end 16 bytes past the end of tensor 'x', which has 96 bytes at 0x", True),
    "unit_past_tensor": (r"SDNN_LOAD at LINE: 112 bytes at 0x\w+ end 16 bytes past the end of tensor 'x' of f", True),
    "past_tensor_replayed": (r"GM2LM at .*: 128 bytes at 0x\w+ end 32 bytes past the end of tensor 'x' of f, which has 96 bytes", False),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_names_kernel_and_line(programs: Path, case: str) -> None:
    pattern, marked = FAULTS[case]
    done = run(programs / "faults", case)
    assert done.stdout.startswith("1 xpu_wait: "), done
    assert f"kernel {case.removesuffix('_replayed')} (faults.cc:" in done.stdout
    assert re.search(pattern.replace("LINE", re.escape(line_of(case)) if marked else ".*"), done.stdout), done.stdout


CALLS = {
    "grid": r"^1 xpu_launch_async: kernel past_end on a grid of 3 x 1: SIM has 2 clusters of 4",
    "arguments": r"^1 xpu_launch_async: kernel past_end takes 8 bytes of arguments, and got 0",
    "double_free": r"^703 xpu_free: 0x\w+ is ",
    "inner_free": r"^703 xpu_free: 0x\w+ is 4 bytes into allocation #1 ",
    "copy_past_end": r"^703 xpu_memcpy: the target: 192 bytes at 0x\w+ end 160 bytes past the end",
    "copy_after_free": r"^703 xpu_memcpy: the target: .* past the end of allocation #1",
    "copy_wrong_way": r"^703 xpu_memcpy: the host's side of the copy is an address of the device: 0 bytes into allocation #1",
    "too_much": r"^702 xpu_malloc: no room for 2097152 bytes in L3 of device 0: 0 of 1048576 bytes are in use",
    "no_device": r"^700 xpu_set_device: there is no device 2: there are 2",
    "bad_module": r"^704 xpu_module_load: the module does not load: ",
    "after_a_fault": r"^0 $",
    "told_after_free": r"^0 $",
}


@pytest.mark.parametrize("case", CALLS)
def test_a_wrong_call_is_refused(programs: Path, case: str) -> None:
    done = run(programs / "faults", case)
    assert re.search(CALLS[case], done.stdout.rstrip("\n")), done


def test_the_host_cannot_touch_device_memory(programs: Path) -> None:
    done = run(programs / "faults", "host_read")
    assert done.returncode == -11  # the handler tells, and lets the process end as it would have
    assert re.search(
        r"xpu: the host touched device memory at 0x\w+, 20 bytes into allocation #1 \(GDDR of device 0, 192 bytes at 0x\w+\), "
        r"while it ran no function of the runtime. Copy it with xpu_memcpy.",
        done.stderr,
    ), done.stderr
