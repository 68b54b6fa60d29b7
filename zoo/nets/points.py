"""Clouds of points after the papers, small."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn

from .recommendation import mlp


class PointNet(nn.Layer):
    """Points turned by a predicted matrix, a maximum over all; labels of the cloud or of each point."""

    def __init__(self, each=False):
        super().__init__()
        self.lift = nn.Conv1D(3, 64, 1)
        self.turn = mlp(64, [32], 9)
        first, second = nn.Conv1D(3, 64, 1), nn.Conv1D(64, 128, 1)
        self.net = nn.Sequential(first, nn.BatchNorm1D(64), nn.ReLU(), second, nn.BatchNorm1D(128), nn.ReLU())
        self.out = mlp(128, [64], 10)
        self.each = nn.Conv1D(256, 5, 1) if each else None

    def forward(self, x):
        matrix = self.turn(F.relu(self.lift(x)).max(2)).reshape([-1, 3, 3]) + paddle.eye(3)
        hidden = self.net(paddle.matmul(x.transpose([0, 2, 1]), matrix).transpose([0, 2, 1]))
        whole = hidden.max(2)
        if self.each is None:
            return self.out(whole)
        return self.each(paddle.concat([hidden, paddle.expand(whole.unsqueeze(2), [-1, -1, hidden.shape[2]])], 1))


def distances(a, b):
    """Squared distances (N, A, B)."""
    return (a**2).sum(-1, keepdim=True) + (b**2).sum(-1).unsqueeze(1) - 2 * paddle.matmul(a, b, transpose_y=True)


def pick(x, index):
    """x (N, P, C) at index (N, …)."""
    batch = paddle.arange(x.shape[0]).reshape([-1] + [1] * (len(index.shape) - 1))
    return paddle.gather_nd(x, paddle.stack([paddle.expand(batch, index.shape), index], -1))


def farthest(x, count):
    """Indices of points, each the farthest from those before."""
    found = [paddle.zeros([x.shape[0]], "int64")]
    distance = paddle.full([x.shape[0], x.shape[1]], 1e10)
    for _ in range(count - 1):
        distance = paddle.minimum(distance, ((x - pick(x, found[-1].unsqueeze(1))) ** 2).sum(-1))
        found.append(distance.argmax(-1))
    return paddle.stack(found, 1)


def near(x, centres, radius, count):
    """Indices of the first points within the radius; the first of them where there are fewer."""
    distance, points = distances(centres, x), x.shape[1]
    none = paddle.full(distance.shape, points, "int64")
    index = paddle.where(distance > radius * radius, none, paddle.expand(paddle.arange(points), distance.shape))
    index = paddle.sort(index, -1)[:, :, :count]
    return paddle.where(index == points, paddle.expand(index[:, :, :1], index.shape), index)


class Abstraction(nn.Layer):
    """Centres, what is near them, and a maximum of its features."""

    def __init__(self, count, radius, near_count, channels):
        super().__init__()
        self.count, self.radius, self.near = count, radius, near_count
        layers = []
        for i in range(len(channels) - 1):
            layers += [nn.Conv2D(channels[i], channels[i + 1], 1), nn.BatchNorm2D(channels[i + 1]), nn.ReLU()]
        self.net = nn.Sequential(*layers)

    def forward(self, points, features):
        centres = pick(points, farthest(points, self.count))
        index = near(points, centres, self.radius, self.near)
        around = paddle.concat([pick(points, index) - centres.unsqueeze(2), pick(features, index)], -1)
        return centres, self.net(around.transpose([0, 3, 2, 1])).max(2).transpose([0, 2, 1])


class PointNet2(nn.Layer):
    def __init__(self):
        super().__init__()
        self.first = Abstraction(16, 1.0, 8, [6, 16, 32])
        self.second = Abstraction(8, 2.0, 4, [35, 32, 64])
        self.out = nn.Linear(64, 10)

    def forward(self, x):
        points, features = self.second(*self.first(x, x))
        return self.out(features.max(1))


class PointRCNN(nn.Layer):
    """A box proposed at every point, the best of them, and each refined from the points inside it.

    Proposals: foreground score and centre, size and angle by bins and residuals; the best by score, suppressed by distance on the ground.
    """

    def __init__(self, keep=4, inside=8):
        super().__init__()
        self.first = Abstraction(16, 1.0, 8, [6, 16, 32])
        self.back = nn.Linear(35, 32)
        self.foreground = nn.Linear(32, 1)
        self.bins = nn.Linear(32, 2 * 4 + 2 * 4 + 1 + 3 + 6 * 2)
        self.refine = mlp(6 + 32, [32])
        self.score = nn.Linear(32, 1)
        self.residual = nn.Linear(32, 7)
        self.keep, self.inside = keep, inside

    def forward(self, x):
        centres, features = self.first(x, x)
        weight = 1 / (distances(x, centres) + 1e-2)  # back to all points, by the inverse distance
        features = paddle.matmul(weight / weight.sum(-1, keepdim=True), features)
        features = F.relu(self.back(paddle.concat([x, features], -1)))
        foreground = F.sigmoid(self.foreground(features)).squeeze(-1)
        boxes = self.boxes(x, self.bins(features))
        _, order = paddle.topk(foreground, self.keep)
        boxes, score = pick(boxes, order), paddle.take_along_axis(foreground, order, 1)
        ground = distances(boxes[:, :, :2], boxes[:, :, :2])
        before = paddle.tril(paddle.ones_like(ground), -1)
        apart = ((ground < 0.01).astype("float32") * before).sum(-1) == 0
        index = near(x, boxes[:, :, :3], 2.0, self.inside)
        local = self.turned(pick(x, index) - boxes[:, :, :3].unsqueeze(2), boxes[:, :, 6:])
        around = paddle.concat([local, pick(x, index), pick(features, index)], -1)
        hidden = self.refine(around).max(2)
        return boxes + 0.1 * self.residual(hidden), F.sigmoid(self.score(hidden)).squeeze(-1) * score, apart

    @staticmethod
    def boxes(points, out):
        """Bins of 1 m along the ground's axes, twelve bins of the angle in two halves."""
        moves = []
        for axis in range(2):
            index = out[:, :, 4 * axis : 4 * axis + 4].argmax(-1, keepdim=True)
            rest = paddle.take_along_axis(out[:, :, 8 + 4 * axis : 12 + 4 * axis], index, 2)
            moves.append(index.astype("float32") - 1.5 + paddle.tanh(rest) * 0.5)
        height, size = out[:, :, 16:17], F.softplus(out[:, :, 17:20])
        index = out[:, :, 20:26].argmax(-1, keepdim=True)
        angle = (index.astype("float32") + paddle.tanh(paddle.take_along_axis(out[:, :, 26:], index, 2)) * 0.5) * (3.14159265 / 6)
        return paddle.concat([points + paddle.concat([*moves, height], -1), size, angle], -1)

    @staticmethod
    def turned(points, angle):
        cos, sin = paddle.cos(angle), paddle.sin(angle)
        x, y, z = points[:, :, :, 0], points[:, :, :, 1], points[:, :, :, 2]
        return paddle.stack([x * cos + y * sin, y * cos - x * sin, z], -1)
