"""The engines of the CPU benchmark, each run in a process of its own (``python -m benchmarks.cpu.engines ENGINE JOB``).

The process prints one JSON line when it is ready, then for each number N on its standard input a list of N times in ms.
A call is what a user writes: a numpy array in, numpy arrays out, with as little copying as the engine's API allows.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Call = Callable[[], list[Any]]


def oarlock(job: dict[str, Any], x: np.ndarray) -> Call:
    import oarlock

    session = oarlock.load(job["artifact"], threads=job["threads"])
    name = session.inputs[0].name
    held = session.empty(name, x.shape)
    held[...] = x
    return lambda: list(session.run({name: held}).values())


def onnxruntime(job: dict[str, Any], x: np.ndarray) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(job["onnx"], options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: x})


def openvino(job: dict[str, Any], x: np.ndarray) -> Call:
    import openvino

    hint = "bf16" if job["precision"] == "bfloat16" else "f32"  # what is not quantised
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": job["threads"], "INFERENCE_PRECISION_HINT": hint}
    core = openvino.Core()
    model = core.read_model(job["onnx"] or job["graph"])  # it reads .pdmodel itself
    if not job["onnx"]:
        model.reshape({job["input"]: job["shape"]})
    compiled = core.compile_model(model, "CPU", config)
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(x))
    count = len(compiled.outputs)

    def call() -> list[Any]:
        request.infer()
        return [request.get_output_tensor(i).data for i in range(count)]

    return call


def paddle(job: dict[str, Any], x: np.ndarray) -> Call:
    import paddle.inference

    config = paddle.inference.Config(job["graph"], job["parameters"])
    config.disable_gpu()
    config.disable_glog_info()
    config.set_cpu_math_library_num_threads(job["threads"])
    config.enable_mkldnn()
    return paddle_call(config, x)


def paddle_call(config: Any, x: np.ndarray) -> Call:
    """A call of the predictor that a Paddle Inference configuration makes."""
    import paddle.inference

    predictor = paddle.inference.create_predictor(config)
    given = predictor.get_input_handle(predictor.get_input_names()[0])
    outputs = predictor.get_output_names()
    given.reshape(x.shape)

    def call() -> list[Any]:
        given.copy_from_cpu(x)
        predictor.run()
        return [predictor.get_output_handle(name).copy_to_cpu() for name in outputs]

    return call


ENGINES: dict[str, Callable[[dict[str, Any], np.ndarray], Call]] = {
    "oarlock": oarlock,
    "openvino": openvino,
    "onnxruntime": onnxruntime,
    "paddle": paddle,
}
PACKAGES = {"oarlock": "oarlock", "openvino": "openvino", "onnxruntime": "onnxruntime", "paddle": "paddlepaddle"}


def serve(engines: dict[str, Callable[[dict[str, Any], np.ndarray], Call]]) -> None:
    """Answer for the engine and the job that the command line names."""
    engine, job = sys.argv[1], json.loads(sys.argv[2])
    x = np.load(job["data"])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an engine prints must not mix with the answers
    start = time.perf_counter()
    call = engines[engine](job, x)
    outputs = [np.array(o) for o in call()]
    cold = time.perf_counter() - start
    if job.get("dump"):
        np.savez(job["dump"], *outputs)
    ready = {"cold_ms": cold * 1e3, "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    print(json.dumps(ready), file=answers, flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            call()
            times.append((time.perf_counter() - start) * 1e3)
        print(json.dumps(times), file=answers, flush=True)


if __name__ == "__main__":
    serve(ENGINES)
