"""Policies and values of reinforcement learning after their papers: on frames of games, and on joints of a robot."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn

from .recommendation import mlp


class FrameValues(nn.Layer):
    """DQN; dueling: a value and advantages."""

    def __init__(self, dueling=False, actions=6):
        super().__init__()
        layers = []
        for inputs, outputs, size, padding in ((4, 32, 5, 2), (32, 32, 5, 2), (32, 64, 4, 1)):
            layers += [nn.Conv2D(inputs, outputs, size, 1, padding), nn.ReLU(), nn.MaxPool2D(2, 2)]
        self.eyes = nn.Sequential(*layers, nn.Conv2D(64, 64, 3, 1, 1), nn.ReLU())
        self.advantage = mlp(64 * 16, [64], actions)
        self.value = mlp(64 * 16, [64], 1)
        self.dueling = dueling

    def forward(self, frames):
        seen = self.eyes(frames / 255.0).flatten(1)
        advantage = self.advantage(seen)
        return advantage + self.value(seen) - advantage.mean(1, keepdim=True) if self.dueling else advantage


class FramePolicy(nn.Layer):
    """A2C, GA3C, IMPALA: logits, value, the best action, the entropy."""

    def __init__(self):
        super().__init__()
        self.eyes = nn.Sequential(nn.Conv2D(4, 16, 8, 4), nn.ReLU(), nn.Conv2D(16, 32, 4, 2), nn.ReLU())
        self.hidden = nn.Linear(32 * 3 * 3, 64)
        self.policy = nn.Linear(64, 6)
        self.value = nn.Linear(64, 1)

    def forward(self, frames):
        hidden = F.relu(self.hidden(self.eyes(frames / 255.0).flatten(1)))
        logits = self.policy(hidden)
        entropy = -(F.softmax(logits) * F.log_softmax(logits)).sum(-1)
        return logits, self.value(hidden), paddle.argmax(F.softmax(logits), -1), entropy


class Actor(nn.Layer):
    """DDPG's; spread: SAC's, which also gives a standard deviation."""

    def __init__(self, spread=False):
        super().__init__()
        self.hidden = mlp(17, [64, 64])
        self.mean = nn.Linear(64, 6)
        self.spread = nn.Linear(64, 6) if spread else None

    def forward(self, joints):
        hidden = self.hidden(joints)
        mean = paddle.tanh(self.mean(hidden))
        return mean if self.spread is None else (mean, paddle.exp(paddle.clip(self.spread(hidden), -20.0, 2.0)))


class Critic(nn.Layer):
    """DDPG's; twin: TD3's two."""

    def __init__(self, twin=False):
        super().__init__()
        self.first = mlp(23, [64, 64], 1)
        self.second = mlp(23, [64, 64], 1) if twin else None

    def forward(self, joints, action):
        both = paddle.concat([joints, action], 1)
        return self.first(both) if self.second is None else (self.first(both), self.second(both))


class PPO(nn.Layer):
    """Mean, value, and the logarithm of the chance of an action."""

    def __init__(self):
        super().__init__()
        self.value = mlp(17, [64, 64], 1, nn.Tanh)
        self.policy = mlp(17, [64, 64], 6, nn.Tanh)
        self.spread = self.create_parameter([1, 6])

    def forward(self, joints, action):
        mean = self.policy(joints)
        spread = paddle.exp(self.spread.expand_as(mean))
        chance = -((action - mean) ** 2) / (2 * spread**2) - paddle.log(spread) - 0.9189385
        return mean, self.value(joints), chance.sum(-1)


class Policy(nn.Layer):
    """MADDPG's actor."""

    def __init__(self):
        super().__init__()
        self.hidden = mlp(17, [64, 64], 5)

    def forward(self, joints):
        return self.hidden(joints)


class QMixer(nn.Layer):
    """The agents' values mixed by weights that the state gives."""

    def __init__(self, agents=3, state=20, hidden=16):
        super().__init__()
        self.agents, self.hidden = agents, hidden
        self.first = nn.Linear(state, agents * hidden)
        self.first_bias = nn.Linear(state, hidden)
        self.second = nn.Linear(state, hidden)
        self.second_bias = mlp(state, [hidden], 1)

    def forward(self, values, state):
        weight = paddle.abs(self.first(state)).reshape([-1, self.agents, self.hidden])
        hidden = F.elu(paddle.bmm(values.unsqueeze(1), weight) + self.first_bias(state).unsqueeze(1))
        weight = paddle.abs(self.second(state)).unsqueeze(2)
        return (paddle.bmm(hidden, weight) + self.second_bias(state).unsqueeze(1)).squeeze(2)


class QMixAgent(nn.Layer):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(20, 32)
        self.cell = nn.GRUCell(32, 32)
        self.out = nn.Linear(32, 5)

    def forward(self, seen, hidden):
        hidden, _ = self.cell(F.relu(self.first(seen)), hidden)
        return self.out(hidden), hidden


class R2D2(nn.Layer):
    def __init__(self):
        super().__init__()
        self.first = mlp(20, [32])
        self.lstm = nn.LSTM(32, 32)
        self.out = nn.Linear(32, 5)

    def forward(self, seen, hidden, cell):
        found, (hidden, cell) = self.lstm(self.first(seen), (hidden, cell))
        return self.out(found), hidden, cell


class DecisionTransformer(nn.Layer):
    def __init__(self):
        super().__init__()
        self.reward = nn.Linear(1, 32)
        self.state = nn.Linear(17, 32)
        self.action = nn.Linear(6, 32)
        self.time = nn.Embedding(50, 32)
        self.norm = nn.LayerNorm(32)
        layer = nn.TransformerEncoderLayer(32, 2, 64, 0.0, activation="gelu", normalize_before=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.out = nn.Linear(32, 6)

    def forward(self, reward, state, action, step):
        time = self.time(step)
        three = paddle.stack([self.reward(reward) + time, self.state(state) + time, self.action(action) + time], 2)
        mask = paddle.triu(paddle.full([15, 15], -1e9), 1)
        hidden = self.encoder(self.norm(three.reshape([-1, 15, 32])), mask)
        return paddle.tanh(self.out(hidden.reshape([-1, 5, 3, 32])[:, :, 1]))
