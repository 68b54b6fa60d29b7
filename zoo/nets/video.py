"""A backbone and a head of PaddleVideo as one layer."""

from __future__ import annotations

import paddle
from paddle import nn


class Volume(nn.Layer):
    def __init__(self, backbone, head=None):
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x):
        found = self.backbone(x)
        return found if self.head is None else self.head(found)


class Frames(Volume):
    """Each of eight frames through a net of pictures."""

    def forward(self, x):
        x = paddle.reshape(x, [-1, 3, x.shape[3], x.shape[4]])
        return self.head(self.backbone(x), 8)


class SlowFast(Volume):
    def forward(self, slow, fast):
        return self.head(self.backbone([slow, fast]))


class AttentionLSTM(nn.Layer):
    """Two streams of features with their lengths and masks."""

    def __init__(self):
        super().__init__()
        from paddlevideo.modeling.registry import HEADS

        self.head = HEADS.get("AttentionLstmHead")(num_classes=100, feature_num=2, feature_dims=[64, 32], embedding_size=64, lstm_size=128)

    def forward(self, a, a_length, a_mask, b, b_length, b_mask):
        return self.head([(a, a_length, a_mask), (b, b_length, b_mask)])
