"""One model saved in both of Paddle's formats becomes the same Relax module."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import oarlock

EXPORT = """
import sys
import paddle
from paddle.vision import models
paddle.seed(3)
name, stem = sys.argv[1:]
network = getattr(models, name)(num_classes=10)
network.eval()
shape = [None, 1, 28, 28] if name == "LeNet" else [None, 3, 64, 64]
paddle.jit.save(network, stem, input_spec=[paddle.static.InputSpec(shape, "float32", "x")])
"""


@pytest.mark.parametrize("name", ["LeNet", "mobilenet_v3_small"])
def test_both_formats_give_structurally_equal_relax(name: str, tmp_path: Path) -> None:
    pytest.importorskip("paddle", reason="paddlepaddle makes the two files")
    import tvm

    from oarlock.importer import import_program

    modules = []
    for pir, suffix in (("1", ".json"), ("0", ".pdmodel")):
        stem = tmp_path / pir / "model"
        # the format is chosen by a flag that Paddle reads once, when it starts
        subprocess.run([sys.executable, "-c", EXPORT, name, str(stem)], env=_environment(FLAGS_enable_pir_api=pir), check=True, timeout=300)
        program = oarlock.load_model(stem.with_suffix(suffix))
        assert program.source["format"] == ("pir" if pir == "1" else "legacy")
        modules.append(import_program(program))
    tvm.ir.assert_structural_equal(*modules)


def _environment(**more: str) -> dict[str, str]:

    return {**os.environ, **more}
