"""Run a saved model with Paddle Inference in a process of its own: python paddle_process.py MODEL PARAMS INPUTS.npz OUTPUTS.npz

Stands alone (no Oarlock), so that any interpreter with any paddlepaddle can run it, and a crash of Paddle stays there.
PARAMS is "-" when the model has none, the folder when each is a file of its own.
Graph optimisation and oneDNN are off: the plain kernels are the oracle.  Its handles know no complex numbers: a model that takes or
gives them runs by Paddle's executor.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping

import numpy as np

os.environ.setdefault("GLOG_minloglevel", "3")


def run(model: str, params: str, inputs: Mapping[str, np.ndarray], one_sequence: bool = False) -> list[np.ndarray]:
    """The outputs in fetch order.  ``one_sequence``: the rows of every input are one sequence, for models that ask for LoD."""
    outputs = None
    if not any(array.dtype.kind == "c" for array in inputs.values()):
        outputs = _by_predictor(model, params, inputs, one_sequence)
    return _by_executor(model, params, inputs) if outputs is None else outputs


def _by_predictor(model: str, params: str, inputs: Mapping[str, np.ndarray], one_sequence: bool) -> list[np.ndarray] | None:
    """By Paddle Inference; None when an output is of a type that it cannot hand out."""
    import paddle.inference as paddle_infer

    config = paddle_infer.Config(params) if os.path.isdir(params) else paddle_infer.Config(model, "" if params == "-" else params)
    config.disable_gpu()
    config.disable_glog_info()
    config.switch_ir_optim(False)
    if hasattr(config, "disable_mkldnn"):
        config.disable_mkldnn()
    predictor = paddle_infer.create_predictor(config)
    for name in predictor.get_input_names():
        handle = predictor.get_input_handle(name)
        handle.reshape(inputs[name].shape)
        handle.copy_from_cpu(np.ascontiguousarray(inputs[name]))
        if one_sequence:
            handle.set_lod([[0, len(inputs[name])]])
    predictor.run()
    handles = [predictor.get_output_handle(name) for name in predictor.get_output_names()]
    try:
        return [handle.copy_to_cpu() for handle in handles]
    except (ValueError, TypeError, RuntimeError, OSError):
        return None


def _by_executor(model: str, params: str, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    import paddle

    paddle.enable_static()
    executor = paddle.static.Executor(paddle.CPUPlace())
    with tempfile.TemporaryDirectory() as folder:
        stem = os.path.join(folder, "model")  # the executor takes one name for both files
        os.symlink(os.path.abspath(model), stem + os.path.splitext(model)[1])
        if params != "-" and not os.path.isdir(params):
            os.symlink(os.path.abspath(params), stem + ".pdiparams")
        program, _, fetched = paddle.static.load_inference_model(stem, executor)
        results = executor.run(program, feed=dict(inputs), fetch_list=fetched)
    return [np.asarray(result) for result in results]


def main() -> None:
    model, params, inputs_path, outputs_path = sys.argv[1:5]
    with np.load(inputs_path, allow_pickle=False) as archive:
        inputs = {name: archive[name] for name in archive.files}
    outputs = run(model, params, inputs)
    np.savez(outputs_path, **{f"{i:06d}": array for i, array in enumerate(outputs)})  # in fetch order


if __name__ == "__main__":
    main()
