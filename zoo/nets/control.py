"""Networks whose course depends on their data: branches, loops, decoders, arrays of tensors, outputs of unknown size."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn


class While(nn.Layer):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x, count):
        i = paddle.zeros([1], "int64")
        while i < count:
            x = paddle.tanh(self.linear(x))
            i = i + 1
        return x, i


class Branch(nn.Layer):
    def __init__(self):
        super().__init__()
        self.yes = nn.Linear(8, 8)
        self.no = nn.Linear(8, 8)

    def forward(self, x):
        if x.mean() > 0:
            y = F.relu(self.yes(x))
        else:
            y = paddle.tanh(self.no(x)) - 1
        return y * 2


class BranchInWhile(nn.Layer):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x, count):
        i = paddle.zeros([], "int64")
        total = paddle.zeros_like(x)
        while i < count:
            x = self.linear(x)
            if x.sum() > 0:
                total = total + x
            else:
                total = total - x
            i += 1
        return total


class GreedyTranslator(nn.Layer):
    """Sequence to sequence with attention; stops when every sentence has ended."""

    def __init__(self, vocabulary=50, width=32, end=1):
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.encoder = nn.LSTM(width, width)
        self.cell = nn.LSTMCell(2 * width, width)
        self.query = nn.Linear(width, width, bias_attr=False)
        self.out = nn.Linear(2 * width, vocabulary)
        self.end = end

    def forward(self, source):
        memory, (hidden, cell) = self.encoder(self.words(source))
        hidden = hidden[0]
        cell = cell[0]
        batch = paddle.shape(source)[0]
        word = paddle.full([batch], 2, "int64")
        ended = paddle.full([batch], False, "bool")
        out = paddle.zeros([batch, 0], "int64")
        context = paddle.zeros_like(hidden)
        i = paddle.zeros([], "int64")
        while (i < 8) and (not ended.all()):
            _, (hidden, cell) = self.cell(paddle.concat([self.words(word), context], 1), (hidden, cell))
            weight = F.softmax(paddle.matmul(memory, self.query(hidden).unsqueeze(2)), 1)
            context = paddle.matmul(weight, memory, transpose_x=True).squeeze(1)
            word = self.out(paddle.concat([hidden, context], 1)).argmax(1)
            word = paddle.where(ended, paddle.full_like(word, self.end), word)
            out = paddle.concat([out, word.unsqueeze(1)], 1)
            ended = paddle.logical_or(ended, word == self.end)
            i = i + 1
        return out


class BeamTranslator(nn.Layer):
    """The same by Paddle's beam search."""

    def __init__(self, vocabulary=50, width=32):
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.encoder = nn.GRU(width, width)
        self.cell = nn.GRUCell(width, width)
        self.out = nn.Linear(width, vocabulary)
        beam = {"start_token": 2, "end_token": 1, "beam_size": 3, "embedding_fn": self.words, "output_fn": self.out}
        self.decoder = nn.BeamSearchDecoder(self.cell, **beam)

    def forward(self, source):
        _, hidden = self.encoder(self.words(source))
        ids, _ = nn.dynamic_decode(self.decoder, inits=hidden[0], max_step_num=6)
        return ids


class LoopedRNN(nn.Layer):
    """A Python loop over a length known at run time only: its list becomes an array of tensors."""

    def __init__(self):
        super().__init__()
        self.cell = nn.SimpleRNNCell(8, 8)

    def forward(self, x):
        hidden = paddle.zeros([paddle.shape(x)[0], 8])
        out = []
        steps = paddle.shape(x)[1]
        for i in range(steps):
            _, hidden = self.cell(x[:, i], hidden)
            out.append(hidden)
        return paddle.stack(out, 1)


class Suppress(nn.Layer):
    def forward(self, boxes, scores):
        kept = paddle.vision.ops.nms(boxes, 0.4, scores)
        return paddle.gather(boxes, kept), paddle.gather(scores, kept)
