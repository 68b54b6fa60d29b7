"""Run a saved model with Paddle Inference in a process of its own: python paddle_process.py MODEL PARAMS INPUTS.npz OUTPUTS.npz

Stands alone (no Oarlock), so that any interpreter with any paddlepaddle can run it, and a crash of Paddle stays there.
PARAMS is "-" when the model has none, the folder when each is a file of its own.
Graph optimisation and oneDNN are off: the plain kernels are the oracle.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

import numpy as np

os.environ.setdefault("GLOG_minloglevel", "3")


def run(model: str, params: str, inputs: Mapping[str, np.ndarray], one_sequence: bool = False) -> list[np.ndarray]:
    """The outputs in fetch order.  ``one_sequence``: the rows of every input are one sequence, for models that ask for LoD."""
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
    return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]


def main() -> None:
    model, params, inputs_path, outputs_path = sys.argv[1:5]
    with np.load(inputs_path, allow_pickle=False) as archive:
        inputs = {name: archive[name] for name in archive.files}
    outputs = run(model, params, inputs)
    np.savez(outputs_path, **{f"{i:06d}": array for i, array in enumerate(outputs)})  # in fetch order


if __name__ == "__main__":
    main()
