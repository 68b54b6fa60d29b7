"""Recommenders of sequences, texts and candidates after their papers, small."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn

from .recommendation import VOCABULARY, mlp


class GRU4Rec(nn.Layer):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 32)
        self.gru = nn.GRU(32, 32)
        self.out = nn.Linear(32, VOCABULARY)

    def forward(self, items, length):
        _, state = self.gru(self.embedding(items), sequence_length=length)
        return F.softmax(self.out(state[-1]))


class TagSpace(nn.Layer):
    """A text and tags in one space."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, 16)
        self.tags = nn.Embedding(50, 10)
        self.convolution = nn.Conv1D(16, 24, 5, padding=2)
        self.out = nn.Linear(24, 10)

    def forward(self, text, right, wrong):
        text = self.out(paddle.tanh(self.convolution(self.words(text).transpose([0, 2, 1]))).max(2))
        return F.cosine_similarity(text, self.tags(right), axis=1), F.cosine_similarity(text, self.tags(wrong), axis=1)


class TextCNN(nn.Layer):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 16)
        self.convolutions = nn.LayerList([nn.Conv2D(1, 8, (k, 16)) for k in (2, 3, 4)])
        self.out = nn.Linear(24, 2)

    def forward(self, text):
        text = self.embedding(text).unsqueeze(1)
        found = [F.relu(c(text)).squeeze(3).max(2) for c in self.convolutions]
        return F.softmax(self.out(paddle.concat(found, 1)))


class MultiviewSimnet(nn.Layer):
    """A bag of words and a GRU, for the query and for the title."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 16)
        self.query = nn.LayerList([mlp(16, [16]) for _ in range(2)])
        self.title = nn.LayerList([mlp(16, [16]) for _ in range(2)])
        self.gru = nn.GRU(16, 16)

    def encode(self, views, text):
        words = self.embedding(text)
        return paddle.concat([views[0](paddle.tanh(words.sum(1))), views[1](self.gru(words)[1][0])], 1)

    def forward(self, query, title):
        return F.cosine_similarity(self.encode(self.query, query), self.encode(self.title, title), axis=1)


class DSSM(MultiviewSimnet):
    def forward(self, query, title):
        query = F.normalize(self.query[0](self.embedding(query).mean(1)))
        title = F.normalize(self.title[0](self.embedding(title).mean(1)))
        return (query * title).sum(1)


class SSR(nn.Layer):
    """A session's GRU state against items."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 16)
        self.gru = nn.GRU(16, 16)
        self.user = nn.Linear(16, 16)
        self.item = nn.Linear(16, 16)

    def forward(self, session, length, items):
        state = self.gru(self.embedding(session), sequence_length=length)[1][0]
        return paddle.matmul(F.softsign(self.user(state)), paddle.tanh(self.item(self.embedding(items))), transpose_y=True)


class SRGNN(nn.Layer):
    """A session as a graph of its items."""

    def __init__(self, vocabulary=100, width=16):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.incoming = nn.Linear(width, width)
        self.outgoing = nn.Linear(width, width)
        self.cell = nn.GRUCell(2 * width, width)
        self.of_item = nn.Linear(width, width, bias_attr=False)
        self.of_last = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias_attr=False)
        self.out = nn.Linear(2 * width, width, bias_attr=False)
        self.width = width

    def pick(self, nodes, index):
        return paddle.take_along_axis(nodes, paddle.expand(index.unsqueeze(2), [-1, -1, self.width]), 1)

    def forward(self, items, sequence, last, entering, leaving, mask):
        nodes = self.embedding(items)
        entered, left = paddle.matmul(entering, self.incoming(nodes)), paddle.matmul(leaving, self.outgoing(nodes))
        message = paddle.concat([entered, left], -1).reshape([-1, 2 * self.width])
        nodes, _ = self.cell(message, nodes.reshape([-1, self.width]))
        session = self.pick(nodes.reshape([-1, 6, self.width]), sequence)
        recent = self.pick(session, last)
        weight = self.score(F.sigmoid(self.of_item(session) + self.of_last(recent))) * mask.unsqueeze(2)
        whole = paddle.matmul(weight, session, transpose_x=True)
        return paddle.matmul(self.out(paddle.concat([whole, recent], -1)).squeeze(1), self.embedding.weight, transpose_y=True)


class TDM(nn.Layer):
    """A beam search down a binary tree of items."""

    def __init__(self, depth=5, beam=4):
        super().__init__()
        self.nodes = nn.Embedding(2**depth, 16)
        self.user = mlp(16, [16])
        self.out = mlp(32, [16], 2)
        self.depth, self.beam = depth, beam

    def forward(self, user):
        user = self.user(user)
        node = paddle.ones([paddle.shape(user)[0], 1], "int64")
        best = None
        for level in range(self.depth - 1):
            children = paddle.concat([node * 2, node * 2 + 1], 1)
            wide = paddle.expand(user.unsqueeze(1), [-1, children.shape[1], -1])
            chance = F.softmax(self.out(paddle.concat([self.nodes(children), wide], -1)))[:, :, 1]
            best, index = paddle.topk(chance, min(self.beam, 2 ** (level + 1)), axis=1)
            node = paddle.take_along_axis(children, index, 1)
        return node, best


class SASRec(nn.Layer):
    def __init__(self):
        super().__init__()
        self.items = nn.Embedding(VOCABULARY, 32, padding_idx=0)
        self.positions = nn.Embedding(20, 32)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 2, 64, 0.0), 2)

    def forward(self, items):
        length = items.shape[1]
        hidden = self.items(items) + self.positions(paddle.arange(length))
        mask = paddle.triu(paddle.full([length, length], -1e9), 1)
        return paddle.matmul(self.encoder(hidden, mask)[:, -1], self.items.weight, transpose_y=True)


class MIND(nn.Layer):
    """Interests as capsules, by three rounds of routing."""

    def __init__(self):
        super().__init__()
        self.items = nn.Embedding(VOCABULARY, 16)
        self.linear = nn.Linear(16, 16, bias_attr=False)
        self.routing = self.create_parameter([1, 4, 10])

    def forward(self, items):
        items = self.linear(self.items(items))
        routing = self.routing + paddle.zeros([1, 4, 10])
        for _ in range(3):
            capsule = paddle.matmul(F.softmax(routing, 1), items)
            size = capsule.square().sum(-1, keepdim=True)
            capsule = size / (1 + size) * capsule / paddle.sqrt(size + 1e-9)
            routing = routing + paddle.matmul(capsule, items, transpose_y=True)
        return capsule


class YouTubeDNN(nn.Layer):
    def __init__(self):
        super().__init__()
        self.watched = nn.Embedding(VOCABULARY, 16)
        self.searched = nn.Embedding(VOCABULARY, 16)
        self.deep = mlp(45, [32, 16])
        self.out = nn.Linear(16, VOCABULARY)

    def forward(self, watched, searched, other):
        hidden = self.deep(paddle.concat([self.watched(watched).mean(1), self.searched(searched).mean(1), other], 1))
        chance = F.softmax(self.out(hidden))
        return chance, paddle.argmax(chance, 1)


class Word2Vec(nn.Layer):
    def __init__(self):
        super().__init__()
        self.centre = nn.Embedding(VOCABULARY, 16)
        self.context = nn.Embedding(VOCABULARY, 16)

    def forward(self, word, context):
        return F.log_sigmoid((self.centre(word) * self.context(context)).sum(-1))
