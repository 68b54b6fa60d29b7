"""Session: an artifact ready to run.

The contract with the compiler: the library's ``main`` takes (inputs…, weights…), each a tensor of its own, and returns a
tuple of tensors in fetch order (or one tensor).  A model that is one native function has all its weights in one tensor.  In others a
weight costs about 0.15 µs a call, of which 0.12 are the VM's check of its type; a tuple of weights costs more, not less
(measured with 200 and 1,000 weights).

Copies.  Kernels assume memory aligned to 64 bytes, as vector stores do.  An input is used where it lies when it is
contiguous, aligned, writable (as DLPack demands) and in CPU memory; else it is copied to a buffer that the session keeps.
numpy's own arrays are aligned to 16 bytes, so to avoid the copy take one from ``Session.empty``.  Outputs of 64 KiB
and more are views of the memory that the model wrote; smaller ones, and any that lie in an input or a weight, are copies.
Both are writable and stay valid after the session is closed.
"""

from __future__ import annotations

import os
import platform
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArtifactError, HostCallError, InputError, OarlockError
from . import dtypes, ffi, libraries, pool, tvm_runtime
from .arrays import ALIGNMENT, aligned_empty
from .artifact import Artifact, Source
from .machine import allow_tile_registers, cpu_features, default_threads
from .signature import TensorSpec, check_names, check_shape

if TYPE_CHECKING:
    from .devices import Device, Workers
    from .host import Host, HostCalls, HostTime

_POOLED_ALLOCATOR = 2
_COPY_BELOW = 1 << 16


_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


class Session:
    """Runs one artifact on what it was compiled for: the CPU, or a device (devices.py), to which inputs are copied and
    from which outputs come back.

    ``threads`` is the number of threads that kernels use; by default what the model was compiled for, else the physical
    cores that this process may use.  ``run`` may be called from several threads; calls of one session run one after another.
    ``host`` gives functions for the operators that the model calls on the host; others are those of ``oarlock.host_operator``.
    """

    def __init__(self, artifact: Artifact | Source, *, threads: int | None = None, host: Host | None = None) -> None:
        if not isinstance(artifact, Artifact):
            artifact = Artifact.load(artifact)
        _check_machine(artifact)
        self.artifact = artifact
        self.threads = _thread_count(threads, artifact)
        self._lock = threading.Lock()
        self._ended = ""  # why it runs no more
        _sessions.add(self)
        self._staging: dict[str, tuple[np.ndarray, ffi.Tensor]] = {}
        self._workers: Workers | None = None
        if artifact.runtime.get("parallel"):
            self._open_workers(artifact, threads)
            return
        self._device = _open_device(artifact)
        if artifact.parts:
            self.artifact = artifact = artifact.part(self._device.part if self._device else artifact.parts[0].name)
        # From here on self.artifact keeps the weights' memory alive for the VM.
        load = self._device.load_module if self._device else tvm_runtime.load_module
        module = load(artifact.library, artifact.path or "the artifact's library")
        self._host = _host_calls(artifact, host)
        for name in artifact.runtime.get("libraries", []):
            libraries.open_for(module, name, artifact.path)
        try:
            self._vm: ffi.Object | None = ffi.module_function(module, "vm_load_executable")()
            there = (self._device.kind, self._device.device.number, _POOLED_ALLOCATOR) if self._device else ()
            ffi.module_function(self._vm, "vm_initialization")(*there, ffi.CPU, 0, _POOLED_ALLOCATOR)
            main = ffi.module_function(self._vm, "main")
            arity = ffi.module_function(self._vm, "get_function_arity")("main")
        except Exception as error:
            raise ArtifactError(
                f"the artifact's library is no program of this TVM: {tvm_runtime.first_line(error)}",
                where=artifact.path,
                todo="compile the model again with the installed version",
            ) from error
        self._tvm_threads = pool.attach(artifact.library, module, self.threads)
        if arity != len(self.inputs) + len(artifact.weights):
            raise ArtifactError(
                f"the program takes {arity} tensors, but there are {len(self.inputs)} inputs and {len(artifact.weights)} weights",
                where=artifact.path,
                todo="compile the model again",
            )
        weights = [_weight_tensor(weight) for weight in artifact.weights]
        if self._device:
            weights = self._device.upload_weights(weights, artifact)
        self._main: ffi.Call | None = ffi.Call(main, len(self.inputs), weights)
        self._weight_ranges = _address_ranges(weights)

    def _open_workers(self, artifact: Artifact, threads: int | None) -> None:
        """Several devices run the model, each a part: there is no program here."""
        from .devices import open_workers

        self._device = self._host = self._vm = self._main = None
        self._tvm_threads, self._weight_ranges = False, []
        self._workers = open_workers(artifact, threads)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What ``run`` takes: name, element type and dims (ints, symbols or expressions) of each input."""
        return self.artifact.signature.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What ``run`` gives, in fetch order."""
        return self.artifact.signature.outputs

    def empty(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """An uninitialised array for the input ``name`` that ``run`` uses without a copy; for a GPU, one from which copies are fast."""
        for spec in self.inputs:
            if spec.name == name:
                if any(d < 0 for d in shape):
                    raise InputError(f"{list(shape)} is no shape", where=str(spec), todo="give sizes of at least 0")
                check_shape(spec, shape, {})
                return self._empty(shape, dtypes.numpy_dtype(spec.dtype))
        raise InputError(f"the model has no input {name!r}", todo=f"its inputs: {', '.join(map(str, self.inputs)) or 'none'}")

    def run(self, inputs: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """Run the model once.

        ``inputs`` maps each input's name to a numpy array, any CPU tensor with DLPack, or Python numbers in lists.
        Returns output name → array in fetch order.  InputError when a name, rank, element type or dim does not fit
        (element types are never converted, except from Python numbers); OarlockError when the model fails as it runs.
        """
        given = {} if inputs is None else inputs
        if not isinstance(given, Mapping):
            raise InputError(f"inputs are a {type(given).__name__}", todo="give a dict: input name → array")
        check_names(self.inputs, given)
        if self._host is not None and self._host.in_this_thread:
            raise HostCallError("a host function runs the session that it is called from", todo="give it a session of its own")
        with self._lock:
            if (self._main is None and self._workers is None) or self._ended:
                raise self._no_more()
            symbols: dict[str, tuple[int, str]] = {}
            tensors = [self._input_tensor(spec, given[spec.name], symbols) for spec in self.inputs]
            if self._workers is not None:
                return self._run_workers(self._workers, tensors)
            assert self._main is not None
            if self._tvm_threads:
                tvm_runtime.use_threads(self.threads)
            try:
                if self._host is not None:
                    results = self._run_with(self._host, self._main, tensors)
                else:
                    results = self._main(tensors) if self._device is None else self._run_on(self._device, self._main, tensors)
            except HostCallError:
                raise
            except Exception as error:
                shapes = ", ".join(f"{s.name} {list(t.shape)}" for s, t in zip(self.inputs, tensors, strict=True))
                raise OarlockError(
                    f"the model failed as it ran: {tvm_runtime.first_line(error)}",
                    where=f"{self.artifact.path or 'session'}, inputs {shapes or 'none'}",
                    todo="check that the model accepts these shapes and values; if it does, please report it",
                ) from error
            return self._outputs(results, tensors)

    def _run_with(self, host: HostCalls, main: ffi.Call, tensors: list[ffi.Tensor]) -> Any:
        """Results of a model with host calls; what one of them raised comes out as it is."""
        with host.running():
            try:
                return main(tensors)
            except ffi.ForeignError:
                if host.failed is not None:
                    failed, host.failed = host.failed, None
                    raise failed from failed.__cause__
                raise

    def _run_workers(self, workers: Workers, tensors: list[ffi.Tensor]) -> dict[str, np.ndarray]:
        try:
            found = workers({spec.name: tensor.array() for spec, tensor in zip(self.inputs, tensors, strict=True)})
        except OarlockError:
            self._ended = "a device failed, and the others cannot go on without it"
            raise
        return {spec.name: _whole(spec, found[spec.name]) for spec in self.outputs}

    def _run_on(self, device: Device, main: ffi.Call, tensors: list[ffi.Tensor]) -> list[Any]:
        """Results as tensors of the CPU; what is no tensor stays, for _outputs to refuse."""
        given = main([device.input(spec.name, tensor) for spec, tensor in zip(self.inputs, tensors, strict=True)])
        results = [given] if isinstance(given, ffi.Tensor) else list(given)
        out = [
            device.download(result, _tensor(device.empty(result.shape, dtypes.numpy_dtype(result.dtype))))
            if isinstance(result, ffi.Tensor)
            else result
            for result in results
        ]
        device.synchronise()
        return out

    def host_times(self) -> tuple[HostTime, ...]:
        """What each of the model's host calls has cost since the session was made; mostly there are none."""
        return () if self._host is None else self._host.times()

    def synchronise(self) -> None:
        """Wait until a GPU, or another device, has done what it was given; there is nothing to wait for on the CPU, nor after ``run``."""
        if self._device:
            self._device.synchronise()

    def instrument(self, hook: Callable[..., int] | None) -> None:
        """Have the VM call ``hook(function, name, before, result, *arguments)`` before and after each function; None ends it.

        The hook returns 0, and may not raise; its arguments are tvm_ffi's objects.  This imports tvm_ffi, which running a
        model does not need.  See ``oarlock.runtime.profile``, which times kernels by it.
        """
        with self._lock:
            if self._workers is not None:
                raise OarlockError("the calls of a model on several devices are not told", todo="instrument the model on one device")
            if self._vm is None or self._ended:
                raise self._no_more()
            ffi.module_function(self._vm, "set_instrument")(None if hook is None else tvm_runtime.from_callable(hook))

    def clock(self) -> float:
        """Seconds by which kernels are timed: the device's own, where it has that (devices.py)."""
        return time.perf_counter() if self._device is None else self._device.clock()

    @property
    def clock_is(self) -> str:
        """What the clock's seconds are where they are not those of the wall; "" where they are."""
        return "" if self._device is None else self._device.times

    def moved(self) -> Mapping[str, Mapping[str, int]] | None:
        """What the device's kernels moved since the last call of this, by kind of memory (devices.py); None where nothing counts."""
        return None if self._device is None else self._device.moved()

    def _no_more(self) -> OarlockError:
        return OarlockError(self._ended or "the session is closed", todo="make a new Session")

    def close(self) -> None:
        """Let go of the program and its weights; arrays that ``run`` returned stay valid."""
        with self._lock:
            self._main = self._vm = None
            self._staging.clear()
            if self._device:
                self._device.close()
            if self._workers is not None:
                self._workers.close()
                self._ended = self._ended or "the session is closed"

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Session({self.artifact!r}, threads={self.threads})"

    def _input_tensor(self, spec: TensorSpec, value: Any, symbols: dict[str, tuple[int, str]]) -> ffi.Tensor:
        name = spec.dtype
        if name in dtypes.COMPLEX:
            value, name = _plain_array(spec, value), dtypes.COMPLEX[name]
        if isinstance(value, np.ndarray):
            array = value
        elif hasattr(value, "__dlpack__") and not isinstance(value, np.generic):
            return self._foreign_tensor(spec, value, symbols)
        else:
            array = _to_array(spec, value)
        want = dtypes.numpy_dtype(spec.dtype)
        if array.dtype != want:
            raise _wrong_dtype(spec, str(array.dtype))
        check_shape(spec, array.shape, symbols)
        if name != spec.dtype:
            array = dtypes.parts(np.asarray(array, order="C"))
        if array.flags.c_contiguous and array.flags.writeable:
            tensor = ffi.from_array(array, name, ALIGNMENT)
            if tensor is not None:
                return tensor
        return self._stage(spec, array)

    def _foreign_tensor(self, spec: TensorSpec, value: Any, symbols: dict[str, tuple[int, str]]) -> ffi.Tensor:
        try:
            device = value.__dlpack_device__() if hasattr(value, "__dlpack_device__") else (ffi.CPU, 0)
            if device[0] != ffi.CPU:
                what = f"input {spec.name!r} is not in CPU memory (DLPack device {tuple(device)})"
                raise InputError(what, todo="move it to the CPU first")
            tensor = ffi.from_dlpack(value)
            dtype = tensor.dtype
        except InputError:
            raise
        except Exception as error:  # whatever the other library raises
            raise InputError(
                f"input {spec.name!r}: {type(value).__name__} gives no DLPack tensor: {tvm_runtime.first_line(error)}",
                todo="give a numpy array",
            ) from error
        if dtype != spec.dtype:
            raise _wrong_dtype(spec, dtype)
        check_shape(spec, tensor.shape, symbols)
        if tensor.contiguous and tensor.data % ALIGNMENT == 0:
            return tensor
        return self._stage(spec, tensor.array())

    def _stage(self, spec: TensorSpec, array: np.ndarray) -> ffi.Tensor:
        """A copy of ``array`` in the session's own buffer for this input, kept while the shape stays the same."""
        kept = self._staging.get(spec.name)
        if kept is None or kept[0].shape != array.shape:
            buffer = self._empty(array.shape, array.dtype)
            kept = self._staging[spec.name] = (buffer, _tensor(buffer))
        np.copyto(kept[0], array)
        return kept[1]

    def _empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        return self._device.empty(shape, dtype) if self._device else aligned_empty(shape, dtype)

    def _outputs(self, results: Any, tensors: list[ffi.Tensor]) -> dict[str, np.ndarray]:
        results = [results] if isinstance(results, ffi.Tensor) else list(results)
        if len(results) != len(self.outputs) or not all(isinstance(r, ffi.Tensor) for r in results):
            raise ArtifactError(
                f"the program returned {len(results)} values that are not the {len(self.outputs)} output tensors of the signature",
                where=self.artifact.path,
                todo="compile the model again",
            )
        taken: list[tuple[int, int]] | None = None  # memory that no further output may be a view of
        arrays: dict[str, np.ndarray] = {}
        for spec, result in zip(self.outputs, results, strict=True):
            array = arrays[spec.name] = _whole(spec, result.array(_COPY_BELOW))
            if array.nbytes < _COPY_BELOW:
                continue
            if taken is None:
                taken = self._weight_ranges + _address_ranges(tensors)
            address = result.data
            if any(start < address + array.nbytes and address < end for start, end in taken):
                arrays[spec.name] = array.copy()
            taken.append((address, address + array.nbytes))
        return arrays


def _end_running() -> None:
    """In a forked child: a session that another thread was in stays half-way in its program, and nobody would open its lock again."""
    for session in list(_sessions):
        if session._lock.locked():
            session._lock = threading.Lock()
            session._ended = "the session ran in another thread when this process was forked"


os.register_at_fork(after_in_child=_end_running)


def _check_machine(artifact: Artifact) -> None:
    runtime, machine = artifact.runtime, platform.machine()
    if runtime.get("machine", machine) != machine:
        raise ArtifactError(
            f"the artifact was compiled for {runtime['machine']}; this machine is {machine}",
            where=artifact.path,
            todo="compile the model on this machine, or for its triple",
        )
    # Machine code with instructions that the CPU lacks would end the process.
    if missing := sorted(set(runtime.get("features", [])) - cpu_features()):
        raise ArtifactError(
            f"the artifact needs CPU features that this machine lacks: {', '.join(missing)}",
            where=artifact.path,
            todo="compile the model on this machine, or for an older CPU (mcpu='x86-64-v3')",
        )
    if "amx_tile" in runtime.get("features", []) and not allow_tile_registers():
        raise ArtifactError(
            "the artifact uses AMX, and this system does not let the process use its tile registers",
            where=artifact.path,
            todo="compile the model for a CPU without AMX (mcpu='cooperlake')",
        )


def _host_calls(artifact: Artifact, given: Host | None) -> HostCalls | None:
    if not artifact.host_calls:
        return None
    from .host import HostCalls  # other models start without it

    return HostCalls(artifact.host_calls, given, artifact.path)


def _open_device(artifact: Artifact) -> Device | None:
    if artifact.runtime.get("device", "cpu") == "cpu":
        return None
    from .devices import open_device  # sessions on the CPU start without it

    return open_device(artifact)


def _thread_count(threads: int | None, artifact: Artifact) -> int:
    if threads is None:
        compiled = artifact.runtime.get("threads")
        if isinstance(compiled, int) and compiled > 0:
            return min(compiled, len(os.sched_getaffinity(0)))  # the machine that compiled may have had more
        return default_threads()
    if not isinstance(threads, int) or threads < 1:
        raise InputError(f"threads is {threads!r}", todo="give a number of at least 1")
    return threads


def _plain_array(spec: TensorSpec, value: Any) -> np.ndarray:
    """A value for a complex input as a numpy array: DLPack's complex types are numpy's to read."""
    if isinstance(value, np.ndarray) or not hasattr(value, "__dlpack__") or isinstance(value, np.generic):
        return value if isinstance(value, np.ndarray) else _to_array(spec, value)
    try:
        return np.from_dlpack(value)
    except Exception as error:  # whatever the other library raises
        what = f"input {spec.name!r}: {type(value).__name__} gives no DLPack tensor: {tvm_runtime.first_line(error)}"
        raise InputError(what, todo="give a numpy array") from error


def _whole(spec: TensorSpec, array: np.ndarray) -> np.ndarray:
    """An output as the signature has it."""
    return dtypes.whole(array, spec.dtype) if spec.dtype in dtypes.COMPLEX else array


def _to_array(spec: TensorSpec, value: Any) -> np.ndarray:
    """Python numbers as an array of the input's element type; numpy scalars keep their own type."""
    try:
        array = np.asarray(value)
        if isinstance(value, np.generic):
            return array
        want = dtypes.numpy_dtype(spec.dtype)
        if array.size and (
            array.dtype.kind not in ("biufc" if want.kind == "c" else "biuf") or (array.dtype.kind == "f" and want.kind in "biu")
        ):
            raise _wrong_dtype(spec, f"{array.dtype} (from a {type(value).__name__})")
        return np.asarray(value, dtype=want)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(
            f"input {spec.name!r}: {type(value).__name__} is no array of {spec.dtype}: {error}", todo="give a numpy array"
        ) from error


def _wrong_dtype(spec: TensorSpec, given: str) -> InputError:
    return InputError(
        f"input {spec.name!r} is {given}, expected {spec.dtype}",
        todo=f"convert it, for example with array.astype({spec.dtype!r})",
    )


def _tensor(array: np.ndarray) -> ffi.Tensor:
    """A tensor over a contiguous, writable array's memory."""
    tensor = ffi.from_array(array, array.dtype.name)
    assert tensor is not None  # no alignment is asked for
    return tensor


def _weight_tensor(weight: np.ndarray) -> ffi.Tensor:
    if not (weight.flags.c_contiguous and weight.flags.writeable and (weight.ctypes.data % ALIGNMENT == 0 or not weight.size)):
        aligned = aligned_empty(weight.shape, weight.dtype)
        np.copyto(aligned, weight)
        weight = aligned
    return _tensor(weight)


def _address_ranges(tensors: list[ffi.Tensor]) -> list[tuple[int, int]]:
    """Where tensors lie, neighbours joined."""
    ranges: list[tuple[int, int]] = []
    for start, size in sorted((t.data, t.nbytes) for t in tensors):
        if ranges and start - ranges[-1][1] <= ALIGNMENT:
            ranges[-1] = (ranges[-1][0], max(start + size, ranges[-1][1]))
        elif size:
            ranges.append((start, start + size))
    return ranges


def load(path: Source, *, threads: int | None = None, host: Host | None = None) -> Session:
    """A Session of the artifact at ``path``, or of its bytes, or of a stream of them (an object with ``read``).

    ArtifactError when that is no artifact, or a damaged or newer one.  Bytes and streams are loaded without a file.

    ``host``: functions for the operators that the model calls on the host (see Session).
    """
    return Session(path, threads=threads, host=host)
