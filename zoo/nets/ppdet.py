"""PaddleDetection's models in the form of its export, and its NMS and proposals by Paddle 3's operators."""

from __future__ import annotations

import paddle
from paddle import nn


class Image(nn.Layer):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def results(self, given):
        out = self.model(given)
        return list(out.values()) if isinstance(out, dict) else out

    def forward(self, image):
        return self.results({"image": image})


class ImageScale(Image):
    def forward(self, image, scale_factor):
        return self.results({"image": image, "scale_factor": scale_factor})


class ImageShapeScale(Image):
    def forward(self, image, im_shape, scale_factor):
        return self.results({"image": image, "im_shape": im_shape, "scale_factor": scale_factor})


WRAPPERS = {"image": Image, "image scale_factor": ImageScale, "image im_shape scale_factor": ImageShapeScale}


def multiclass_nms(
    bboxes,
    scores,
    score_threshold,
    nms_top_k,
    keep_top_k,
    nms_threshold=0.3,
    normalized=True,
    nms_eta=1.0,
    background_label=-1,
    return_index=False,
    return_rois_num=True,
    rois_num=None,
    name=None,
):
    out, index, count = paddle._C_ops.multiclass_nms3(
        bboxes, scores, rois_num, score_threshold, nms_top_k, keep_top_k, nms_threshold, normalized, nms_eta, background_label
    )
    return out, count if return_rois_num else None, index if return_index else None


def matrix_nms(
    bboxes,
    scores,
    score_threshold,
    post_threshold,
    nms_top_k,
    keep_top_k,
    use_gaussian=False,
    gaussian_sigma=2.0,
    background_label=0,
    normalized=True,
    return_index=False,
    return_rois_num=True,
    name=None,
):
    out, index, count = paddle._C_ops.matrix_nms(
        bboxes, scores, score_threshold, nms_top_k, keep_top_k, post_threshold, use_gaussian, gaussian_sigma, background_label, normalized
    )
    return out, count if return_rois_num else None, index if return_index else None


def proposals(self, scores, bbox_deltas, anchors, inputs):
    """RPNHead._gen_proposal for any batch: a loop over the pictures, with counts of shape (1,)."""
    generate = self.test_proposal
    im_shape = inputs["im_shape"]
    rois_of_all = []
    counts = []
    batch_size = paddle.shape(im_shape)[0]
    for i in range(batch_size):
        boxes = []
        probabilities = []
        post_nms_top_n = 0
        for rpn_score, rpn_delta, anchor in zip(scores, bbox_deltas, anchors):  # noqa: B905
            rois, prob, num, post_nms_top_n = generate(
                scores=rpn_score[i : i + 1], bbox_deltas=rpn_delta[i : i + 1], anchors=anchor, im_shape=im_shape[i : i + 1]
            )
            boxes.append(rois)
            probabilities.append(prob)
        if len(scores) > 1:
            rois = paddle.concat(boxes)
            prob = paddle.concat(probabilities).flatten()
            found = paddle.shape(prob)[0].cast("int32")
            if found > post_nms_top_n:
                _, index = paddle.topk(prob, post_nms_top_n)
                kept = paddle.gather(rois, index)
            else:
                kept = rois
        else:
            kept = boxes[0]
        rois_of_all.append(kept)
        counts.append(paddle.shape(kept)[0:1])
    return rois_of_all, paddle.concat(counts)


def proposals_of_one(self, scores, bbox_deltas, anchors, inputs):
    """The same for one picture, without a loop."""
    im_shape = inputs["im_shape"]
    boxes = []
    probabilities = []
    most = 0
    for rpn_score, rpn_delta, anchor in zip(scores, bbox_deltas, anchors):  # noqa: B905
        rois, prob, _, most = self.test_proposal(scores=rpn_score[0:1], bbox_deltas=rpn_delta[0:1], anchors=anchor, im_shape=im_shape[0:1])
        boxes.append(rois)
        probabilities.append(prob)
    rois = paddle.concat(boxes)
    prob = paddle.concat(probabilities).flatten()
    count = paddle.minimum(paddle.to_tensor(most).cast("int32"), paddle.shape(prob)[0].cast("int32"))
    _, index = paddle.topk(prob, count)
    rois = paddle.gather(rois, index)
    return [rois], paddle.shape(rois)[0:1]
