"""Networks of pictures and videos that no package has, after their papers, small."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn

from .ocr import conv_bn


def _resnet18():
    from paddle.vision.models import resnet18

    return resnet18(num_classes=0, with_pool=False)


class NonLocal(nn.Layer):
    """A 3-D convolution and a non-local block."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv3D(3, 16, 3, (1, 2, 2), 1)
        self.theta, self.phi, self.g = (nn.Conv3D(16, 8, 1) for _ in range(3))
        self.back = nn.Conv3D(8, 16, 1)
        self.norm = nn.BatchNorm3D(16)
        self.pool = nn.MaxPool3D((1, 2, 2), (1, 2, 2))
        self.out = nn.Linear(16, 10)

    def forward(self, x):
        x = F.relu(self.convolution(x))
        time, height, width = x.shape[2:]
        theta, phi, g = self.theta(x).flatten(2), self.pool(self.phi(x)).flatten(2), self.pool(self.g(x)).flatten(2)
        weight = F.softmax(paddle.matmul(theta, phi, transpose_x=True) * 8**-0.5 * 8, -1)
        seen = paddle.matmul(g, weight, transpose_y=True).reshape([-1, 8, time, height, width])
        x = x + self.norm(self.back(seen))
        return self.out(F.adaptive_avg_pool3d(x, 1).flatten(1))


class StNet(nn.Layer):
    """Five frames in one picture of 15 channels, temporal convolutions between ResNet-18's stages."""

    def __init__(self):
        super().__init__()
        self.net = _resnet18()
        self.first = nn.Conv2D(15, 64, 7, 2, 3)
        self.middle = nn.Conv3D(128, 128, (3, 1, 1), padding=(1, 0, 0))
        self.late = nn.Conv3D(256, 256, (3, 1, 1), padding=(1, 0, 0))
        whole = (nn.Conv1D(512, 512, 3, padding=1, groups=512), nn.Conv1D(512, 64, 1), nn.BatchNorm1D(64), nn.ReLU())
        self.temporal = nn.Sequential(*whole)
        self.out = nn.Linear(64, 10)

    def over_time(self, convolution, x):
        channels, height, width = x.shape[1:]
        video = x.reshape([-1, 7, channels, height, width]).transpose([0, 2, 1, 3, 4])
        return (video + convolution(video)).transpose([0, 2, 1, 3, 4]).reshape([-1, channels, height, width])

    def forward(self, x):
        net = self.net
        x = net.maxpool(net.relu(net.bn1(self.first(x.reshape([-1, 15, 32, 32])))))
        x = self.over_time(self.middle, net.layer2(net.layer1(x)))
        x = net.layer4(self.over_time(self.late, net.layer3(x)))
        x = x.mean([2, 3]).reshape([-1, 7, 512]).transpose([0, 2, 1])
        return self.out(self.temporal(x).max(2))


class BSN(nn.Layer):
    """The temporal evaluation module: chances of an action, of its start and of its end."""

    def __init__(self):
        super().__init__()
        first, second = nn.Conv1D(100, 64, 3, padding=1), nn.Conv1D(64, 64, 3, padding=1)
        self.net = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Conv1D(64, 3, 1))

    def forward(self, x):
        return F.sigmoid(0.01 * self.net(x))


def dilated(inputs, outputs, stride=1, dilation=1):
    return nn.Sequential(nn.Conv2D(inputs, outputs, 3, stride, dilation, dilation), nn.BatchNorm2D(outputs), nn.ReLU())


class ICNet(nn.Layer):
    """Three resolutions, joined by cascade feature fusion."""

    def __init__(self):
        super().__init__()
        self.whole = nn.Sequential(dilated(3, 16, 2), dilated(16, 16, 2), dilated(16, 32, 2))
        self.halved = nn.Sequential(dilated(3, 16, 2), dilated(16, 32, 2), dilated(32, 64, 2))
        self.quarter = nn.Sequential(dilated(64, 64, 2), dilated(64, 64, 1, 2), dilated(64, 64, 1, 4))
        self.coarse = nn.LayerList([self.norm(c, 32, 3, 2) for c in (64, 32)])
        self.fine = nn.LayerList([self.norm(c, 32, 1, 1) for c in (64, 32)])
        self.out = nn.Conv2D(32, 19, 1)

    @staticmethod
    def norm(inputs, outputs, size, dilation):
        padding = dilation * (size // 2)
        return nn.Sequential(nn.Conv2D(inputs, outputs, size, padding=padding, dilation=dilation), nn.BatchNorm2D(outputs))

    @staticmethod
    def scale(x, factor):
        return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=True)

    def forward(self, x):
        half = self.halved(self.scale(x, 0.5))
        quarter = self.quarter(half)
        for size in (1, 2):
            pooled = F.adaptive_avg_pool2d(quarter, size)
            quarter = quarter + F.interpolate(pooled, size=quarter.shape[2:], mode="bilinear", align_corners=True)
        x1 = F.relu(self.coarse[0](self.scale(quarter, 2)) + self.fine[0](half))
        x1 = F.relu(self.coarse[1](self.scale(x1, 2)) + self.fine[1](self.whole(x)))
        return self.scale(self.out(self.scale(x1, 2)), 4)


class LaneNet(nn.Layer):
    """ENet's pooling with indices and unpooling; a mask of lanes and their embeddings."""

    def __init__(self):
        super().__init__()
        self.first = self.convolve(3, 16, 2)
        self.pool = nn.MaxPool2D(2, 2, return_mask=True)
        self.unpool = nn.MaxUnPool2D(2, 2)
        self.second = self.convolve(16, 16)
        self.branches = nn.LayerList([self.convolve(16, 16) for _ in range(2)])
        self.outs = nn.LayerList([nn.Conv2DTranspose(16, c, 2, 2) for c in (2, 4)])

    @staticmethod
    def convolve(inputs, outputs, stride=1):
        return nn.Sequential(nn.Conv2D(inputs, outputs, 3, stride, 1), nn.BatchNorm2D(outputs), nn.PReLU(outputs))

    def forward(self, x):
        pooled, index = self.pool(self.first(x))
        pooled = self.second(pooled)
        return [self.outs[i](self.branches[i](self.unpool(pooled, index))) for i in range(2)]


class CornerNet(nn.Layer):
    """Corner pooling (a running maximum from the far end), the best corners of a heat map, and their embeddings."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(3, 32, 7, 4, 3))
        self.top, self.left = (nn.Conv2D(32, 32, 3, padding=1) for _ in range(2))
        self.heat = nn.Conv2D(32, 5, 1)
        self.tag = nn.Conv2D(32, 1, 1)
        self.offset = nn.Conv2D(32, 2, 1)

    @staticmethod
    def from_end(x, axis):
        found, _ = paddle.cummax(paddle.flip(x, [axis]), axis)
        return paddle.flip(found, [axis])

    def forward(self, x):
        x = self.stem(x)
        pooled = self.from_end(F.relu(self.top(x)), 2) + self.from_end(F.relu(self.left(x)), 3)
        heat = F.sigmoid(self.heat(pooled))
        heat = heat * (F.max_pool2d(heat, 3, 1, 1) == heat).astype("float32")
        score, index = paddle.topk(heat.flatten(1), 20)
        tag = paddle.take_along_axis(self.tag(pooled).flatten(1), index % 256, 1)
        return score, index, tag, self.offset(pooled)


class PyramidBox(nn.Layer):
    """A low-level feature pyramid, normalised maps, the max-in-out score and decoded prior boxes."""

    def __init__(self):
        super().__init__()
        self.stages = nn.LayerList([nn.Sequential(nn.Conv2D(i, o, 3, 2, 1), nn.ReLU()) for i, o in ((3, 16), (16, 32), (32, 64))])
        self.lateral = nn.Conv2D(32, 32, 1)
        self.up = nn.Conv2DTranspose(64, 32, 4, 2, 1, groups=32)
        self.context = nn.Conv2D(32, 64, 3, padding=1)
        self.score = nn.Conv2D(64, 4, 3, padding=1)
        self.box = nn.Conv2D(64, 4, 3, padding=1)

    def forward(self, x):
        fine = self.stages[1](self.stages[0](x))
        hidden = F.normalize(F.relu(self.lateral(fine)) * self.up(self.stages[2](fine)), axis=1) * 10
        hidden = F.relu(self.context(hidden))
        score = self.score(hidden)
        score = paddle.concat([score[:, :3].max(1, keepdim=True), score[:, 3:]], 1)
        boxes, variances = paddle.vision.ops.prior_box(hidden, x, [16.0], clip=True)
        moves = self.box(hidden).transpose([0, 2, 3, 1]).reshape([1, -1, 4])
        decoded = paddle.vision.ops.box_coder(boxes.reshape([-1, 4]), variances.reshape([-1, 4]), moves, "decode_center_size")
        return decoded, F.softmax(score.transpose([0, 2, 3, 1]).reshape([1, -1, 2]))


class CBNet(nn.Layer):
    """Two ResNet-18 backbones; each stage of the second also gets what the first has there."""

    def __init__(self):
        super().__init__()
        self.assistant, self.lead = _resnet18(), _resnet18()
        sizes = ((64, 64), (128, 64), (256, 128), (512, 256))
        self.links = nn.LayerList([nn.Sequential(nn.Conv2D(i, o, 1), nn.BatchNorm2D(o)) for i, o in sizes])

    @staticmethod
    def stem(net, x):
        return net.maxpool(net.relu(net.bn1(net.conv1(x))))

    @staticmethod
    def stages(net):
        return (net.layer1, net.layer2, net.layer3, net.layer4)

    def forward(self, x):
        hidden = self.stem(self.assistant, x)
        found = []
        for stage in self.stages(self.assistant):
            hidden = stage(hidden)
            found.append(hidden)
        hidden = self.stem(self.lead, x)
        out = []
        stages = self.stages(self.lead)
        for i in range(4):
            hidden = stages[i](hidden + F.interpolate(self.links[i](found[i]), size=hidden.shape[2:], mode="nearest"))
            out.append(hidden)
        return out
