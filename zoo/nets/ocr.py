"""Text detection and recognition after the papers, small."""

from __future__ import annotations

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn


def conv_bn(inputs, outputs, size=3, stride=1, padding=1):
    return [nn.Conv2D(inputs, outputs, size, stride, padding), nn.BatchNorm2D(outputs), nn.ReLU()]


def columns():
    """A line of text of height 32 → features (N, 96, 1, W / 2)."""
    layers, width = conv_bn(3, 16, stride=2), 16
    for outputs, stride in ((32, 1), (64, (2, 1)), (64, (2, 1)), (96, (2, 1))):
        layers += conv_bn(width, outputs, stride=stride)
        width = outputs
    return nn.Sequential(*layers, nn.MaxPool2D((2, 1), (2, 1)))


class Rosetta(nn.Layer):
    def __init__(self):
        super().__init__()
        self.columns = columns()
        self.out = nn.Linear(96, 97)

    def forward(self, x):
        return F.softmax(self.out(self.columns(x).squeeze(2).transpose([0, 2, 1])), -1)


class CRNN(nn.Layer):
    def __init__(self, cell="LSTM"):
        super().__init__()
        self.columns = columns()
        self.rnn = getattr(nn, cell)(96, 48, 2, direction="bidirect")
        self.out = nn.Linear(96, 97)

    def forward(self, x):
        hidden, _ = self.rnn(self.columns(x).squeeze(2).transpose([0, 2, 1]))
        return F.softmax(self.out(hidden), -1)


class ThinPlate(nn.Layer):
    """Rectification by a thin plate spline through predicted points (STAR-Net, RARE)."""

    def __init__(self, points=10, height=32, width=64):
        super().__init__()
        self.points, self.height, self.width = points, height, width
        convolutions = (nn.Conv2D(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2D(16, 32, 3, 2, 1), nn.ReLU())
        self.locate = nn.Sequential(*convolutions, nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(32, 2 * points))
        x = np.linspace(-1, 1, points // 2)
        rim = np.concatenate([np.stack([x, np.full_like(x, y)], 1) for y in (-1, 1)])
        distance = np.linalg.norm(rim[:, None] - rim[None], axis=2)
        np.fill_diagonal(distance, 1)
        kernel = distance**2 * np.log(distance)
        system = np.zeros((points + 3, points + 3))
        system[:points] = np.concatenate([np.ones((points, 1)), rim, kernel], 1)
        system[points : points + 2, 3:], system[points + 2, 3:] = rim.T, 1
        grid = np.meshgrid((np.arange(width) * 2 + 1 - width) / width, (np.arange(height) * 2 + 1 - height) / height)
        places = np.stack(grid, 2).reshape(-1, 2)
        radius = np.linalg.norm(places[:, None] - rim[None], axis=2)
        lifted = np.concatenate([np.ones((len(places), 1)), places, radius**2 * np.log(radius + 1e-6)], 1)
        self.register_buffer("map", paddle.to_tensor((lifted @ np.linalg.inv(system)).astype("float32")))
        self.register_buffer("rim", paddle.to_tensor(rim.astype("float32")))

    def forward(self, x):
        moved = self.rim + 0.1 * paddle.tanh(self.locate(x)).reshape([-1, self.points, 2])
        moved = paddle.concat([moved, paddle.zeros_like(moved[:, :3])], 1)
        grid = paddle.matmul(self.map, moved).reshape([-1, self.height, self.width, 2])
        return F.grid_sample(x, grid)


class STARNet(nn.Layer):
    def __init__(self):
        super().__init__()
        self.rectify = ThinPlate()
        self.recognise = CRNN()

    def forward(self, x):
        return self.recognise(self.rectify(x))


class RARE(nn.Layer):
    """An attention decoder, greedy for a fixed number of steps."""

    def __init__(self, steps=6):
        super().__init__()
        self.rectify = ThinPlate()
        self.columns = columns()
        self.rnn = nn.LSTM(96, 32, direction="bidirect")
        self.of_column = nn.Linear(64, 32, bias_attr=False)
        self.of_state = nn.Linear(32, 32)
        self.score = nn.Linear(32, 1, bias_attr=False)
        self.cell = nn.GRUCell(64 + 38, 32)
        self.out = nn.Linear(32, 38)
        self.steps = steps

    def forward(self, x):
        seen, _ = self.rnn(self.columns(self.rectify(x)).squeeze(2).transpose([0, 2, 1]))
        batch = paddle.shape(seen)[0]
        state = paddle.zeros([batch, 32])
        letter = paddle.zeros([batch], "int64")
        out = []
        for _ in range(self.steps):
            weight = F.softmax(self.score(paddle.tanh(self.of_column(seen) + self.of_state(state).unsqueeze(1))), 1)
            context = paddle.matmul(weight, seen, transpose_x=True).squeeze(1)
            state, _ = self.cell(paddle.concat([context, F.one_hot(letter, 38)], 1), state)
            out.append(self.out(state))
            letter = out[-1].argmax(1)
        return F.softmax(paddle.stack(out, 1), -1)


class Pyramid(nn.Layer):
    """ResNet-18's four stages and a lateral layer for each."""

    def __init__(self):
        super().__init__()
        from paddle.vision.models import resnet18

        net = resnet18(num_classes=0, with_pool=False)
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        self.stages = nn.LayerList([net.layer1, net.layer2, net.layer3, net.layer4])
        self.lateral = nn.LayerList([nn.Conv2D(c, 64, 1, bias_attr=False) for c in (64, 128, 256, 512)])

    def forward(self, x):
        x = self.stem(x)
        out = []
        for i in range(4):
            x = self.stages[i](x)
            out.append(self.lateral[i](x))
        return out


class DB(nn.Layer):
    """Differentiable binarisation: a map of chances, and of the binarised."""

    def __init__(self):
        super().__init__()
        self.pyramid = Pyramid()
        self.smooth = nn.LayerList([nn.Conv2D(64, 16, 3, padding=1, bias_attr=False) for _ in range(4)])
        self.chance = self.head()
        self.threshold = self.head()

    @staticmethod
    def head():
        up = (nn.Conv2DTranspose(16, 16, 2, 2), nn.BatchNorm2D(16), nn.ReLU(), nn.Conv2DTranspose(16, 1, 2, 2), nn.Sigmoid())
        return nn.Sequential(*conv_bn(64, 16), *up)

    def forward(self, x):
        maps = self.pyramid(x)
        for i in (2, 1, 0):
            maps[i] = maps[i] + F.upsample(maps[i + 1], scale_factor=2, mode="nearest")
        smooth = [self.smooth[0](maps[0])]
        for i in (1, 2, 3):
            smooth.append(F.upsample(self.smooth[i](maps[i]), scale_factor=2**i, mode="nearest"))
        fused = paddle.concat(smooth[::-1], 1)
        chance, threshold = self.chance(fused), self.threshold(fused)
        return chance, 1 / (1 + paddle.exp(-50.0 * (chance - threshold)))


class EAST(nn.Layer):
    """A score and the corners of a quadrangle for each place."""

    def __init__(self):
        super().__init__()
        self.pyramid = Pyramid()
        self.score = nn.Conv2D(64, 1, 1)
        self.corners = nn.Conv2D(64, 8, 1)

    def forward(self, x):
        maps = self.pyramid(x)
        hidden = maps[3]
        for i in (2, 1, 0):
            hidden = F.interpolate(hidden, scale_factor=2, mode="bilinear") + maps[i]
        return F.sigmoid(self.score(hidden)), (F.sigmoid(self.corners(hidden)) - 0.5) * 800


class SVTR(nn.Layer):
    """Text by transformers alone."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Sequential(
            *(nn.Conv2D(3, 32, 3, 2, 1), nn.BatchNorm2D(32), nn.GELU(), nn.Conv2D(32, 64, 3, 2, 1), nn.BatchNorm2D(64), nn.GELU())
        )
        self.position = self.create_parameter([1, 8 * 25, 64])
        self.first = nn.LayerList([self.block(64, 2) for _ in range(2)])
        self.merge = nn.Conv2D(64, 96, 3, (2, 1), 1)
        self.norm = nn.LayerNorm(96)
        self.second = self.block(96, 3)
        self.out = nn.Linear(96, 97)

    @staticmethod
    def block(width, heads):
        return nn.TransformerEncoderLayer(width, heads, 2 * width, 0.0, activation="gelu", normalize_before=True)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose([0, 2, 1]) + self.position
        for block in self.first:
            x = block(x)
        x = self.merge(x.transpose([0, 2, 1]).reshape([-1, 64, 8, 25])).flatten(2).transpose([0, 2, 1])
        x = self.second(self.norm(x)).transpose([0, 2, 1]).reshape([-1, 96, 4, 25])
        return F.softmax(self.out(F.adaptive_avg_pool2d(x, [1, 25]).squeeze(2).transpose([0, 2, 1])), -1)
