"""Graph networks.  Nodes and edges are few; the sums over edges are paddle.geometric's."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn

NODES, FEATURES = 12, 16


class Network(nn.Layer):
    """PGL's convolutions on one graph, a pooling and a last layer."""

    def __init__(self, convolutions, pool=None, last=None):
        super().__init__()
        self.convolutions = nn.LayerList(convolutions)
        self.pool = pool
        self.last = last

    def forward(self, num_nodes, edges, feat):
        import pgl

        graph = pgl.Graph(num_nodes=num_nodes, edges=edges)
        for convolution in self.convolutions:
            feat = convolution(graph, feat)
        if self.pool is not None:
            feat = self.pool(graph, feat)
        return feat if self.last is None else self.last(feat)


class Sage(nn.Layer):
    """GraphSAGE takes the features of both ends of an edge."""

    def __init__(self, convolutions):
        super().__init__()
        self.convolutions = nn.LayerList(convolutions)

    def forward(self, num_nodes, edges, feat):
        import pgl

        graph = pgl.Graph(num_nodes=num_nodes, edges=edges)
        for convolution in self.convolutions:
            feat = F.relu(convolution(graph, (feat, feat)))
        return feat


class Messages(nn.Layer):
    """Features along edges, edge features from both ends, and their product summed again."""

    def __init__(self, reduce):
        super().__init__()
        self.linear = nn.Linear(FEATURES, 16)
        self.reduce = reduce

    def forward(self, source, target, x):
        hidden = self.linear(x)
        message = paddle.geometric.send_u_recv(hidden, source, target, self.reduce, out_size=NODES)
        edge = paddle.geometric.send_uv(hidden, message, source, target, "add")
        return paddle.geometric.send_ue_recv(hidden, edge, source, target, "mul", "sum", out_size=NODES)


class Segments(nn.Layer):
    def forward(self, x, ids):
        geometric = paddle.geometric
        return (
            geometric.segment_sum(x, ids),
            geometric.segment_mean(x, ids),
            geometric.segment_max(x, ids),
            geometric.segment_min(x, ids),
        )


class SkipGram(nn.Layer):
    """What DeepWalk, node2vec, metapath2vec and struc2vec train on their walks."""

    def __init__(self, nodes=50, width=16):
        super().__init__()
        self.centre = nn.Embedding(nodes, width)
        self.context = nn.Embedding(nodes, width)

    def forward(self, source, target):
        return F.sigmoid((self.centre(source).unsqueeze(1) * self.context(target)).sum(-1))


class GaAN(nn.Layer):
    """Attention whose two heads are gated by the neighbourhood."""

    def __init__(self):
        super().__init__()
        self.query = nn.Linear(FEATURES, 16)
        self.key = nn.Linear(FEATURES, 16)
        self.value = nn.Linear(FEATURES, 16)
        self.gate = nn.Linear(2 * FEATURES, 2)
        self.out = nn.Linear(FEATURES + 16, 16)

    def forward(self, source, target, x):
        score = (paddle.gather(self.query(x), target) * paddle.gather(self.key(x), source)).reshape([-1, 2, 8]).sum(-1)
        score = paddle.exp(score - score.max())
        total = paddle.scatter_nd_add(paddle.zeros([NODES, 2]), target.unsqueeze(1), score)
        weight = score / paddle.gather(total, target)
        value = paddle.gather(self.value(x), source).reshape([-1, 2, 8]) * weight.unsqueeze(-1)
        heads = paddle.scatter_nd_add(paddle.zeros([NODES, 2, 8]), target.unsqueeze(1), value)
        mean = paddle.geometric.send_u_recv(x, source, target, "mean", out_size=NODES)
        gate = F.sigmoid(self.gate(paddle.concat([x, mean], 1)))
        return self.out(paddle.concat([x, (heads * gate.unsqueeze(-1)).reshape([NODES, 16])], 1))


class SAGPool(nn.Layer):
    """The best half of the nodes by a score from a convolution."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(FEATURES, 16)
        self.score = nn.Linear(16, 1)
        self.out = nn.Linear(32, 3)

    def forward(self, source, target, x):
        hidden = F.relu(paddle.geometric.send_u_recv(self.linear(x), source, target, "mean", out_size=NODES))
        score = paddle.geometric.send_u_recv(self.score(hidden), source, target, "sum", out_size=NODES).squeeze(1)
        best, index = paddle.topk(score, NODES // 2)
        kept = paddle.gather(hidden, index) * paddle.tanh(best).unsqueeze(1)
        return self.out(paddle.concat([kept.mean(0), kept.max(0)]))


class GATNE(nn.Layer):
    """Base embedding of a node plus what it is in one of three kinds of edges."""

    def __init__(self, nodes=50, kinds=3, width=16, edge=8):
        super().__init__()
        self.base = nn.Embedding(nodes, width)
        self.edges = nn.ParameterList([self.create_parameter([nodes, edge]) for _ in range(kinds)])
        self.attend = self.create_parameter([kinds, edge, 8])
        self.weigh = self.create_parameter([kinds, 8, 1])
        self.project = self.create_parameter([kinds, edge, width])
        self.kinds = kinds

    def forward(self, node, neighbours, kind):
        of_kinds = [F.embedding(neighbours[:, k], self.edges[k]).mean(1) for k in range(self.kinds)]
        edges = paddle.stack(of_kinds, 1)
        score = paddle.matmul(paddle.tanh(paddle.matmul(edges, paddle.gather(self.attend, kind))), paddle.gather(self.weigh, kind))
        weight = F.softmax(score.squeeze(2), 1).unsqueeze(1)
        special = paddle.matmul(paddle.matmul(weight, edges), paddle.gather(self.project, kind)).squeeze(1)
        return F.normalize(self.base(node) + special, axis=1)


class ErnieSage(nn.Layer):
    """A text encoder on each node, then GraphSAGE."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(100, 32)
        self.positions = nn.Embedding(16, 32)
        layer = nn.TransformerEncoderLayer(32, 2, 64, 0.0, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.own = nn.Linear(32, 32)
        self.neighbours = nn.Linear(32, 32)

    def forward(self, ids, source, target):
        hidden = self.encoder(self.words(ids) + self.positions(paddle.arange(8)))[:, 0]
        mean = paddle.geometric.send_u_recv(hidden, source, target, "mean", out_size=NODES)
        return F.normalize(F.leaky_relu(self.own(hidden) + self.neighbours(mean)), axis=1)
