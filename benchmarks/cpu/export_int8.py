"""Make one of the benchmark's models twice with Paddle: as floats, and quantised (``python export_int8.py NAME FOLDER``).

Seeded weights; the batch norms' statistics and the scales of what is quantised come from seeded inputs.  Quantised are the inputs
and weights of convolutions and linear layers, each by its largest magnitude: FOLDER/float.json and FOLDER/inference.json.
"""

from __future__ import annotations

import sys
from pathlib import Path

import paddle
from export import Encoder
from paddle import nn
from paddle.quantization import PTQ, QuantConfig
from paddle.quantization.observers import AbsmaxObserver
from paddle.vision import models

ROUNDS = 4

if __name__ == "__main__":
    name, folder = sys.argv[1], Path(sys.argv[2])
    paddle.seed(7)
    text = name == "Encoder"
    net = Encoder() if text else getattr(models, name)()
    examples = [paddle.randint(1, 30000, [1, 128]) if text else paddle.randn([4, 3, 224, 224]) for _ in range(ROUNDS)]
    net.train()
    for example in examples if not text else []:
        net(example)
    net.eval()
    # a batch of 1: Paddle cannot save a quantised model with a symbolic one
    spec = [paddle.static.InputSpec([1, 128], "int64", "ids") if text else paddle.static.InputSpec([1, 3, 224, 224], "float32", "x")]
    paddle.jit.save(net, str(folder / "float"), input_spec=spec)
    config = QuantConfig(activation=None, weight=None)
    config.add_type_config([nn.Conv2D, nn.Linear], activation=AbsmaxObserver(), weight=AbsmaxObserver())
    quantised = PTQ(config).quantize(net)
    for example in examples:
        quantised(example)
    made = PTQ(config).convert(quantised)
    made.eval()
    paddle.jit.save(made, str(folder / "inference"), input_spec=spec)
