"""Operators of vision that Paddle's CPU has no kernel for, against plain numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from test_without_oracle import BOTH, F, check, rand, run, sigmoid


def conv2d(x: np.ndarray, w: np.ndarray, stride: int, pad: int, groups: int = 1) -> np.ndarray:
    x = np.pad(x.astype(F), [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    n, c, h, width = x.shape
    o, per, kh, kw = w.shape
    out = np.zeros((n, o, (h - kh) // stride + 1, (width - kw) // stride + 1))
    for m in range(o):
        first = m // (o // groups) * per
        for i in range(out.shape[2]):
            for j in range(out.shape[3]):
                patch = x[:, first : first + per, i * stride : i * stride + kh, j * stride : j * stride + kw]
                out[:, m, i, j] = (patch * w[m]).sum((1, 2, 3))
    return out


def conv2d_transpose(x: np.ndarray, w: np.ndarray, stride: int, pad: int) -> np.ndarray:
    n, c, h, width = x.shape
    _, o, kh, kw = w.shape
    out = np.zeros((n, o, (h - 1) * stride + kh, (width - 1) * stride + kw))
    for i in range(h):
        for j in range(width):
            out[:, :, i * stride : i * stride + kh, j * stride : j * stride + kw] += np.einsum("nc,cokl->nokl", x[:, :, i, j].astype(F), w)
    return out[:, :, pad : out.shape[2] - pad, pad : out.shape[3] - pad]


# ---- convolutions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("activation", "residual"), [("relu", True), ("identity", False), ("sigmoid", True)])
def test_conv2d_add_act(activation: str, residual: bool) -> None:
    x, w, bias, other = rand(2, 4, 5, 6), rand(6, 2, 3, 3), rand(6), rand(2, 6, 3, 3)
    operands = {"input": x, "filter": w, "bias": bias, "residual_data": other if residual else None}
    attrs = {"strides": [2, 2], "paddings": [1, 1], "groups": 2, "activation": activation}
    (out,) = run("fused_conv2d_add_act", operands, attrs)
    total = conv2d(x, w, 2, 1, 2) + bias.reshape(1, 6, 1, 1) + (other if residual else 0.0)
    check(out, {"relu": np.maximum(total, 0), "identity": total, "sigmoid": sigmoid(total)}[activation])


@pytest.mark.parametrize(("stride", "pad", "outputs", "size"), [(1, 1, 4, 3), (2, 0, 8, 2), (3, 2, 4, 1)])
def test_depthwise_conv2d_bias(stride: int, pad: int, outputs: int, size: int) -> None:
    x, w, bias = rand(2, 4, 5, 6), rand(outputs, 1, size, size), rand(outputs)
    operands = {"input": x, "filter": w, "bias": bias}
    (out,) = run("depthwise_conv2d_bias", operands, {"strides": [stride] * 2, "paddings": [pad] * 2, "groups": 4})
    check(out, conv2d(x, w, stride, pad, 4) + bias.reshape(1, -1, 1, 1))


@pytest.mark.parametrize(("stride", "pad", "size"), [(2, 1, (3, 3)), (1, 0, (2, 3)), (3, 2, (5, 4))])
def test_conv2d_transpose_bias(stride: int, pad: int, size: tuple[int, int]) -> None:
    x, w, bias = rand(2, 3, 4, 5), rand(3, 2, *size), rand(2)
    (out,) = run("conv2d_transpose_bias", {"x": x, "filter": w, "bias": bias}, {"strides": [stride] * 2, "paddings": [pad] * 2})
    check(out, conv2d_transpose(x, w, stride, pad) + bias.reshape(1, 2, 1, 1))


def normal(x: np.ndarray, scale: np.ndarray, bias: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return (x - mean) / np.sqrt(variance + 1e-3) * scale + bias


@pytest.mark.parametrize(("kind", "tested"), [("plain", True), ("add", True), ("shortcut", True), ("shortcut", False)])
def test_resnet_unit(kind: str, tested: bool) -> None:
    """Channels-last data, filters (outputs, height, width, inputs); in training the batch's own statistics."""
    x, z, w, wz = rand(2, 6, 5, 3), rand(2, 6, 5, 4), rand(8, 3, 3, 3), rand(8, 3, 3, 4)
    z = rand(2, 3, 3, 8) if kind == "add" else z
    norms = {f"{n}_{side}": rand(1, 1, 1, 8, seed=i, low=0.2) for i, n in enumerate(("scale", "bias", "mean", "var")) for side in "xz"}
    order = ["scale_x", "bias_x", "mean_x", "var_x"]
    operands = {"x": x, "filter_x": w, **{k: norms[k] for k in order}}
    operands |= {"z": None if kind == "plain" else z, "filter_z": wz if kind == "shortcut" else None}
    operands |= {k.replace("_x", "_z"): norms[k.replace("_x", "_z")] if kind == "shortcut" else None for k in order}
    attrs = {"stride": 2, "stride_z": 2, "padding": 1, "epsilon": 1e-3, "is_test": tested, "act_type": "relu", "data_format": "NHWC"}
    attrs |= {"fuse_add": kind == "add", "has_shortcut": kind == "shortcut"}

    def branch(data: np.ndarray, filter_: np.ndarray, side: str) -> np.ndarray:
        out = conv2d(data.transpose(0, 3, 1, 2), filter_.transpose(0, 3, 1, 2), 2, 1).transpose(0, 2, 3, 1)
        mean, var = (norms[f"mean_{side}"], norms[f"var_{side}"]) if tested else (out.mean((0, 1, 2)), out.var((0, 1, 2)))
        return normal(out, norms[f"scale_{side}"], norms[f"bias_{side}"], mean, var)

    want = branch(x, w, "x")
    if kind == "shortcut":
        want = want + branch(z, wz, "z")
    elif kind == "add":
        want = want + z
    (out,) = run("resnet_unit", operands, attrs, 12, wanted=[0])
    check(out, np.maximum(want, 0))


@pytest.mark.parametrize("act", ["relu", "identity", ""])
def test_bn_add_activation(act: str) -> None:
    x, z, (scale, bias, mean, variance) = rand(3, 4, 2, 5), rand(3, 4, 2, 5, seed=1), (rand(5, seed=i, low=0.3) for i in range(4))
    operands = {"x": x, "z": z, "scale": scale, "bias": bias, "mean": mean, "variance": variance}
    (out,) = run("fused_bn_add_activation", operands, {"momentum": 0.9, "epsilon": 1e-3, "act_type": act}, 6, wanted=[0])
    want = normal(x.astype(F), scale, bias, x.astype(F).mean((0, 1, 2)), x.astype(F).var((0, 1, 2))) + z
    check(out, np.maximum(want, 0) if act == "relu" else want)


# ---- boxes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "scale"), [((20.0, 31.0), 1.5), ((7.0, 12.0), 1.0), ((3.0, 3.0), 0.25)])
def test_box_clip(size: tuple[float, float], scale: float) -> None:
    boxes, info = rand(5, 4, low=-9.0, high=30.0), np.array([[*size, scale]], "float32")
    (out,) = run("box_clip", {"input": boxes, "im_info": info}, {})
    height, width = np.floor(size[0] / scale + 0.5), np.floor(size[1] / scale + 0.5)
    check(out, np.clip(boxes, 0.0, np.array([width, height, width, height]) - 1.0))


@BOTH
@pytest.mark.parametrize(("anchors", "classes", "images"), [(2, 3, 2), (3, 1, 1), (1, 0, 2)])
def test_yolo_box_head(anchors: int, classes: int, images: int, dynamic: bool) -> None:
    x = rand(images, anchors * (5 + classes), 3, 4)
    (out,) = run("yolo_box_head", {"x": x}, {"anchors": [10, 13] * anchors, "class_num": classes}, dynamic=dynamic)
    parts = x.astype(F).reshape(images, anchors, 5 + classes, 3, 4)
    want = sigmoid(parts)
    want[:, :, 2:4] = np.exp(parts[:, :, 2:4])
    check(out, want.reshape(x.shape))


ANCHORS = ([116, 90, 156, 198], [30, 61], [10, 13, 16, 30])
RATIOS = (32, 16, 8)


def yolo(
    heads: list[np.ndarray], shape: np.ndarray, scale: np.ndarray, classes: int, least: float, limit: float
) -> tuple[np.ndarray, list]:
    """The boxes of all images: class, objectness (0: suppressed), corners."""

    def overlap(p: np.ndarray, q: np.ndarray) -> float:
        sides = []
        for k in range(2):
            (a, wa), (c, wc) = ((v[k], v[2 + k] - v[k]) for v in (p, q))  # corners stand in for middles
            sides.append(min(a + wa / 2, c + wc / 2) - max(a - wa / 2, c - wc / 2))
        common = 0.0 if min(sides) < 0 else sides[0] * sides[1]
        return common / ((p[2] - p[0]) * (p[3] - p[1]) + (q[2] - q[0]) * (q[3] - q[1]) - common)

    out, counts = [], []
    for n in range(len(shape)):
        high, wide = (shape[n] / scale[n]).astype(F)
        found = []
        for head, anchors, ratio in zip(heads, ANCHORS, RATIOS, strict=True):
            _, _, rows, columns = head.shape
            for a in range(len(anchors) // 2):
                for y in range(rows):
                    for x in range(columns):
                        v = head[n, a * (5 + classes) : (a + 1) * (5 + classes), y, x].astype(F)
                        if v[4] < np.float32(least):
                            continue
                        cx, cy = (v[0] + x) * wide / rows, (v[1] + y) * high / rows
                        w, h = v[2] * anchors[2 * a] * wide / (ratio * columns), v[3] * anchors[2 * a + 1] * high / (ratio * rows)
                        box = [max(cx - w / 2, 0), max(cy - h / 2, 0), min(cx + w / 2, wide - 1), min(cy + h / 2, high - 1)]
                        prob = v[5:] * v[4]
                        label = int(prob.argmax()) if prob.size and prob.max() > 0 else -1
                        found.append([label, v[4], *box, prob[label] if label >= 0 else v[4]])
        found.sort(key=lambda f: (f[0], -f[6]))
        for i, one in enumerate(found):
            for other in found[i + 1 :]:
                if one[1] and other[1] and one[0] == other[0] and overlap(np.array(one[2:6]), np.array(other[2:6])) > limit:
                    other[1] = 0.0
        out += [f[:6] for f in found]
        counts.append(len(found))
    return np.array(out or [[0.0] * 6]), counts


@pytest.mark.parametrize(("images", "classes", "least", "limit"), [(2, 3, 0.5, 0.3), (1, 1, 0.2, 0.2), (1, 2, 1.5, 0.5)])
def test_yolo_box_post(images: int, classes: int, least: float, limit: float) -> None:
    heads = [
        rand(images, len(a) // 2 * (5 + classes), side, side, seed=side, low=0.0, high=1.0)
        for a, side in zip(ANCHORS, (2, 3, 4), strict=True)
    ]
    shape, scale = np.array([[64.0, 80.0], [96.0, 64.0]], "float32")[:images], np.array([[1.0, 1.0], [2.0, 0.5]], "float32")[:images]
    attrs = {f"anchors{i}": a for i, a in enumerate(ANCHORS)} | {f"downsample_ratio{i}": r for i, r in enumerate(RATIOS)}
    attrs |= {"class_num": classes, "conf_thresh": least, "clip_bbox": True, "scale_x_y": 1.0, "nms_threshold": limit}
    operands = {**{f"boxes{i}": h for i, h in enumerate(heads)}, "image_shape": shape, "image_scale": scale}
    boxes, counts = run("yolo_box_post", operands, attrs, 2)
    want, number = yolo(heads, shape, scale, classes, least, limit)
    np.testing.assert_array_equal(counts, number)
    check(boxes, want, 1e-4)
    assert least > 1 or (want[:, 1] == 0).any() and (want[:, 1] > 0).any()
