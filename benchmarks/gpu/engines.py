"""The engines of the GPU benchmark, each run in a process of its own (``python -m benchmarks.gpu.engines ENGINE JOB``).

A call is what a user writes: a numpy array in, numpy arrays out, so the copies to the GPU and back are part of it, for every engine.
An engine that would fall back to the CPU fails instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cpu import engines as cpu_engines
from ..cpu.engines import Call


def onnxruntime(job: dict[str, Any], x: np.ndarray) -> Call:
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise RuntimeError("this onnxruntime has no CUDA (install onnxruntime-gpu)")
    options = onnxruntime.SessionOptions()
    # TF32 is off: float32 as Oarlock computes it
    session = onnxruntime.InferenceSession(job["onnx"], options, providers=[("CUDAExecutionProvider", {"use_tf32": 0})])
    if session.get_providers()[0] != "CUDAExecutionProvider":
        raise RuntimeError("onnxruntime fell back to the CPU")
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: x})


def torch(job: dict[str, Any], x: np.ndarray) -> Call:
    import torch

    from .torch_networks import network

    precision = job["precision"]
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True
    net = network(job["network"])
    if precision == "float16":
        net = net.half()
    if job["mode"] != "eager":
        net = torch.compile(net, mode=job["mode"])
    floats = x.dtype.kind == "f"

    def call() -> list[Any]:
        with torch.inference_mode():
            given = torch.from_numpy(x).cuda()
            out = net(given.half() if floats and precision == "float16" else given)
            return [t.float().cpu().numpy() for t in (out if isinstance(out, tuple) else (out,))]

    for _ in range(5):  # compiles, chooses algorithms, captures
        call()
    return call


def paddle(job: dict[str, Any], x: np.ndarray) -> Call:
    import paddle.inference

    if not paddle.is_compiled_with_cuda():
        raise RuntimeError("this paddle has no CUDA (install paddlepaddle-gpu)")
    config = paddle.inference.Config(job["graph"], job["parameters"])
    config.enable_use_gpu(1024, 0)
    config.disable_glog_info()
    return cpu_engines.paddle_call(config, x)


if __name__ == "__main__":
    cpu_engines.serve({"oarlock": cpu_engines.oarlock, "torch": torch, "onnxruntime": onnxruntime, "paddle": paddle})
