"""Models of other families again in the format of Paddle 2: written by Paddle 3.3, and by 2.6.2 what 3.3 cannot write so."""

from __future__ import annotations

from . import own, vision
from .recipe import Recipe

# of the functions of paddle.tensor most take no variable of Paddle 2's programs in Paddle 3.3.1 (tanh, sum, matmul, …)
_BY_33 = "control_flow/nms_dynamic_output"
_BY_26 = """
    recommendation/DeepFM recommendation/DIN recommendation/GRU4Rec recommendation/MMoE recommendation/xDeepFM recommendation/TDM_beam
    recommendation/SASRec ocr/CRNN_lstm ocr/DB_r18 control_flow/if_else control_flow/while_linear control_flow/while_nested_if
    control_flow/Seq2Seq_attn_greedy_while control_flow/Seq2Seq_beam_dynamic_decode control_flow/rnn_for_range_tensorarray
    control_flow/nms_dynamic_output rl/PPO_mujoco own/WaveNet own/PyramidBox_LFPN own/PointNet_seg ocr/STAR_Net
"""
_VISION_33 = "resnet18 mobilenet_v2 mobilenet_v3_small shufflenet_v2_x0_25 squeezenet1_1 LeNet googlenet"
_VISION_26 = "resnet18 mobilenet_v2 mobilenet_v3_small shufflenet_v2_x0_25 LeNet densenet121"


def recipes() -> list[Recipe]:
    have = {r.key: r for r in own.everything()}
    small = {name: vision.recipe(name, 28 if name == "LeNet" else 64) for name in f"{_VISION_33} {_VISION_26}".split()}
    return [
        *(have[key].legacy("3.3") for key in _BY_33.split()),
        *(have[key].legacy("2.6") for key in _BY_26.split()),
        *(small[name].legacy("3.3") for name in _VISION_33.split()),
        *(small[name].legacy("2.6") for name in _VISION_26.split()),
    ]
