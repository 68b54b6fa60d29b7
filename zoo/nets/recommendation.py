"""Recommenders after their papers, small: click-through rates from 26 ids and 13 numbers, several tasks, sequences, matching, retrieval."""

from __future__ import annotations

import math

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

IDS, NUMBERS, VOCABULARY, WIDTH = 26, 13, 200, 9
FIELDS = IDS + NUMBERS


def mlp(width, hidden, out=None, act=nn.ReLU):
    """Linear layers with an activation after each but the last."""
    layers = []
    for size in hidden:
        layers += [nn.Linear(width, size), act()]
        width = size
    if out:
        layers.append(nn.Linear(width, out))
    return nn.Sequential(*layers)


class Clicks(nn.Layer):
    """What click-through models share: an embedding of every field, and a first-order sum."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Embedding(VOCABULARY, 1)
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.number_weight = self.create_parameter([NUMBERS])
        self.number_embedding = self.create_parameter([1, NUMBERS, WIDTH])

    def features(self, sparse, dense):
        fields = paddle.concat([self.embedding(sparse), dense.unsqueeze(2) * self.number_embedding], 1)
        first = self.weight(sparse).sum(1) + (dense * self.number_weight).sum(1, keepdim=True)
        return fields, first

    @staticmethod
    def pairs(fields):
        """Sum of all products of two fields, by the square of the sum."""
        return 0.5 * (fields.sum(1).square() - fields.square().sum(1))


class LR(Clicks):
    def forward(self, sparse, dense):
        return F.sigmoid(self.features(sparse, dense)[1])


class FM(Clicks):
    def forward(self, sparse, dense):
        fields, first = self.features(sparse, dense)
        return F.sigmoid(first + self.pairs(fields).sum(1, keepdim=True))


class DeepFM(Clicks):
    def __init__(self):
        super().__init__()
        self.deep = mlp(FIELDS * WIDTH, [64, 32], 1)

    def forward(self, sparse, dense):
        fields, first = self.features(sparse, dense)
        return F.sigmoid(first + self.pairs(fields).sum(1, keepdim=True) + self.deep(fields.flatten(1)))


class WideDeep(DeepFM):
    def forward(self, sparse, dense):
        fields, first = self.features(sparse, dense)
        return F.sigmoid(first + self.deep(fields.flatten(1)))


class DNN(Clicks):
    def __init__(self):
        super().__init__()
        self.deep = mlp(IDS * WIDTH + NUMBERS, [64, 32], 2)

    def forward(self, sparse, dense):
        return F.softmax(self.deep(paddle.concat([self.embedding(sparse).reshape([-1, IDS * WIDTH]), dense], 1)))


class NFM(Clicks):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1D(WIDTH)
        self.deep = mlp(WIDTH, [32], 1)

    def forward(self, sparse, dense):
        fields, first = self.features(sparse, dense)
        return F.sigmoid(first + self.deep(self.norm(self.pairs(fields))))


class AFM(Clicks):
    """Attention over the products of pairs."""

    def __init__(self):
        super().__init__()
        self.attend = nn.Linear(WIDTH, 8)
        self.score = nn.Linear(8, 1, bias_attr=False)
        self.out = nn.Linear(WIDTH, 1)
        left, right = np.triu_indices(FIELDS, 1)
        self.register_buffer("left", paddle.to_tensor(left))
        self.register_buffer("right", paddle.to_tensor(right))

    def forward(self, sparse, dense):
        fields, first = self.features(sparse, dense)
        product = paddle.index_select(fields, self.left, 1) * paddle.index_select(fields, self.right, 1)
        weight = F.softmax(self.score(F.relu(self.attend(product))), 1)
        return F.sigmoid(first + self.out((weight * product).sum(1)))


class PNN(Clicks):
    def __init__(self):
        super().__init__()
        self.deep = mlp(FIELDS * WIDTH + FIELDS * FIELDS, [32], 1)

    def forward(self, sparse, dense):
        fields, _ = self.features(sparse, dense)
        inner = paddle.bmm(fields, fields.transpose([0, 2, 1]))
        return F.sigmoid(self.deep(paddle.concat([fields.flatten(1), inner.flatten(1)], 1)))


class DCN(Clicks):
    """Layers that cross every field with every other; the second version's have a full matrix."""

    def __init__(self, second=False):
        super().__init__()
        size = FIELDS * WIDTH
        self.crosses = nn.LayerList([nn.Linear(size, size if second else 1, bias_attr=second) for _ in range(2 if second else 3)])
        self.biases = nn.ParameterList([self.create_parameter([size], is_bias=True) for _ in range(3)])
        self.deep = mlp(size, [64, 32])
        self.out = nn.Linear(size + 32, 1)
        self.second = second

    def forward(self, sparse, dense):
        fields, _ = self.features(sparse, dense)
        first = x = fields.flatten(1)
        for i in range(len(self.crosses)):
            x = first * self.crosses[i](x) + x
            if not self.second:
                x = x + self.biases[i]
        return F.sigmoid(self.out(paddle.concat([x, self.deep(first)], 1)))


class XDeepFM(Clicks):
    """Compressed interactions: all products of two layers' maps, by a convolution."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv1D(FIELDS * FIELDS, 16, 1)
        self.second = nn.Conv1D(16 * FIELDS, 16, 1)
        self.out = nn.Linear(32, 1)
        self.deep = mlp(FIELDS * WIDTH, [64], 1)

    def forward(self, sparse, dense):
        fields, linear = self.features(sparse, dense)
        product = paddle.einsum("bhd,bmd->bhmd", fields, fields).reshape([-1, FIELDS * FIELDS, WIDTH])
        first = F.relu(self.first(product))
        product = paddle.einsum("bhd,bmd->bhmd", first, fields).reshape([-1, 16 * FIELDS, WIDTH])
        second = F.relu(self.second(product))
        compressed = self.out(paddle.concat([first.sum(2), second.sum(2)], 1))
        return F.sigmoid(linear + compressed + self.deep(fields.flatten(1)))


class AutoInt(Clicks):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiHeadAttention(WIDTH, 3)
        self.residual = nn.Linear(WIDTH, WIDTH)
        self.out = nn.Linear(FIELDS * WIDTH, 1)

    def forward(self, sparse, dense):
        fields, _ = self.features(sparse, dense)
        return F.sigmoid(self.out(F.relu(self.attention(fields, fields, fields) + self.residual(fields)).flatten(1)))


class FiBiNET(Clicks):
    """Fields weighted by a squeeze and excitation, and bilinear products of pairs."""

    def __init__(self):
        super().__init__()
        self.excite = nn.Sequential(nn.Linear(FIELDS, 8), nn.ReLU(), nn.Linear(8, FIELDS), nn.ReLU())
        self.bilinear = nn.Linear(WIDTH, WIDTH, bias_attr=False)
        left, right = np.triu_indices(FIELDS, 1)
        self.left, self.right = left.tolist(), right.tolist()
        self.out = mlp(len(self.left) * WIDTH * 2, [32], 1)

    def products(self, fields):
        left = paddle.gather(fields, paddle.to_tensor(self.left), axis=1)
        return (self.bilinear(left) * paddle.gather(fields, paddle.to_tensor(self.right), axis=1)).flatten(1)

    def forward(self, sparse, dense):
        fields, _ = self.features(sparse, dense)
        excited = fields * self.excite(fields.mean(2)).unsqueeze(2)
        return F.sigmoid(self.out(paddle.concat([self.products(fields), self.products(excited)], 1)))


class DIN(nn.Layer):
    """A user's history weighted by its relevance for the target."""

    def __init__(self):
        super().__init__()
        self.item = nn.Embedding(VOCABULARY, 16)
        self.category = nn.Embedding(50, 16)
        self.attention = mlp(128, [40, 20], 1, nn.Sigmoid)
        self.out = mlp(96, [40, 20], 1, nn.Sigmoid)

    def forward(self, items, categories, item, category, mask):
        history = paddle.concat([self.item(items), self.category(categories)], -1)
        target = paddle.concat([self.item(item), self.category(category)], -1)
        wide = paddle.expand_as(target.unsqueeze(1), history)
        score = self.attention(paddle.concat([history, wide, history - wide, history * wide], -1)) + mask.unsqueeze(2)
        weight = F.softmax(score.transpose([0, 2, 1]) / math.sqrt(32.0))
        user = paddle.matmul(weight, history).squeeze(1)
        return F.sigmoid(self.out(paddle.concat([user, target, user * target], -1)))


class DIEN(nn.Layer):
    """Interest by a GRU, its evolution by a second one on what attends to the target."""

    def __init__(self):
        super().__init__()
        self.item = nn.Embedding(VOCABULARY, 16)
        self.interest = nn.GRU(16, 16)
        self.evolution = nn.GRU(16, 16)
        self.out = mlp(32, [20], 1, nn.Sigmoid)

    def forward(self, items, item, length):
        hidden, _ = self.interest(self.item(items), sequence_length=length)
        target = self.item(item)
        weight = F.softmax(paddle.matmul(hidden, target.unsqueeze(2)), 1)
        _, state = self.evolution(hidden * weight, sequence_length=length)
        return F.sigmoid(self.out(paddle.concat([state[0], target], 1)))


class MMoE(nn.Layer):
    """Experts that each of two tasks mixes by its own gate."""

    def __init__(self):
        super().__init__()
        self.experts = nn.LayerList([mlp(64, [16]) for _ in range(4)])
        self.gates = nn.LayerList([nn.Linear(64, 4) for _ in range(2)])
        self.towers = nn.LayerList([mlp(16, [8], 2) for _ in range(2)])

    def forward(self, x):
        experts = paddle.stack([expert(x) for expert in self.experts], 1)
        out = []
        for i in range(2):
            mixed = (experts * F.softmax(self.gates[i](x)).unsqueeze(2)).sum(1)
            out.append(F.softmax(self.towers[i](mixed)))
        return out


class PLE(nn.Layer):
    """Experts of all tasks, and of each."""

    def __init__(self):
        super().__init__()
        self.shared = nn.LayerList([mlp(64, [16]) for _ in range(2)])
        self.special = nn.LayerList([nn.LayerList([mlp(64, [16]) for _ in range(2)]) for _ in range(2)])
        self.gates = nn.LayerList([nn.Linear(64, 4) for _ in range(2)])
        self.towers = nn.LayerList([mlp(16, [8], 2) for _ in range(2)])

    def forward(self, x):
        shared = [expert(x) for expert in self.shared]
        out = []
        for i in range(2):
            experts = paddle.stack(shared + [expert(x) for expert in self.special[i]], 1)
            mixed = paddle.matmul(F.softmax(self.gates[i](x)).unsqueeze(1), experts).squeeze(1)
            out.append(F.softmax(self.towers[i](mixed)))
        return out


class ShareBottom(nn.Layer):
    def __init__(self):
        super().__init__()
        self.bottom = mlp(64, [32])
        self.towers = nn.LayerList([mlp(32, [8], 2) for _ in range(2)])

    def forward(self, x):
        hidden = self.bottom(x)
        return [F.softmax(tower(hidden)) for tower in self.towers]


class ESMM(nn.Layer):
    """Clicks, conversions after a click, and their product."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 12)
        self.click = mlp(IDS * 12, [32], 2)
        self.convert = mlp(IDS * 12, [32], 2)

    def forward(self, sparse):
        hidden = self.embedding(sparse).flatten(1)
        click, convert = F.softmax(self.click(hidden)), F.softmax(self.convert(hidden))
        both = paddle.slice(click, [1], [1], [2]) * paddle.slice(convert, [1], [1], [2])
        return click, convert, both


class NCF(nn.Layer):
    def __init__(self):
        super().__init__()
        self.user = nn.Embedding(VOCABULARY, 8)
        self.item = nn.Embedding(VOCABULARY, 8)
        self.deep_user = nn.Embedding(VOCABULARY, 32)
        self.deep_item = nn.Embedding(VOCABULARY, 32)
        self.deep = mlp(64, [32, 16, 8])
        self.out = nn.Linear(16, 1)

    def forward(self, user, item):
        product = self.user(user) * self.item(item)
        deep = self.deep(paddle.concat([self.deep_user(user), self.deep_item(item)], -1))
        return F.sigmoid(self.out(paddle.concat([product, deep], -1)))
