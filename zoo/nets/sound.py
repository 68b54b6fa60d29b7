"""Text, speech and dialogue after the papers, small."""

from __future__ import annotations

import math

import paddle
import paddle.nn.functional as F
from paddle import nn


class ELMo(nn.Layer):
    """Words from their letters, a highway, and two layers of LSTMs in both directions, mixed."""

    def __init__(self):
        super().__init__()
        self.letters = nn.Embedding(60, 8)
        self.convolutions = nn.LayerList([nn.Conv1D(8, 16, k) for k in (1, 2, 3)])
        self.highway = nn.Linear(48, 96)
        self.forwards = nn.LayerList([nn.LSTM(48, 24), nn.LSTM(24, 24)])
        self.backwards = nn.LayerList([nn.LSTM(48, 24), nn.LSTM(24, 24)])
        self.mix = self.create_parameter([3])

    def forward(self, letters):
        words = self.letters(letters.reshape([-1, 8])).transpose([0, 2, 1])
        words = paddle.concat([F.relu(c(words)).max(2) for c in self.convolutions], 1)
        both = self.highway(words)
        gate = F.sigmoid(both[:, :48])
        words = (gate * F.relu(both[:, 48:]) + (1 - gate) * words).reshape([-1, 6, 48])
        layers = [words]
        ahead = words
        back = paddle.flip(words, [1])
        for i in range(2):
            ahead, _ = self.forwards[i](ahead)
            back, _ = self.backwards[i](back)
            layers.append(paddle.concat([ahead, paddle.flip(back, [1])], -1))
        weight = F.softmax(self.mix)
        return weight[0] * layers[0] + weight[1] * layers[1] + weight[2] * layers[2]


class DAM(nn.Layer):
    """Nine turns of a dialogue against an answer, at three depths of attention, by 3-D convolutions."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(200, 16)
        self.attentions = nn.LayerList([nn.MultiHeadAttention(16, 1) for _ in range(2)])
        self.norm = nn.LayerNorm(16)
        self.first = nn.Conv3D(3, 8, 3, padding=1)
        self.second = nn.Conv3D(8, 8, 3, padding=1)
        self.pool = nn.MaxPool3D(3, 3)
        self.out = nn.Linear(8, 1)

    def depths(self, text):
        out = [self.words(text)]
        for attention in self.attentions:
            out.append(self.norm(attention(out[-1], out[-1], out[-1]) + out[-1]))
        return out

    def forward(self, turns, answer):
        answer = self.depths(answer)
        matches = []
        for k in range(9):
            turn = self.depths(turns[:, k])
            matches.append(paddle.stack([paddle.matmul(turn[i], answer[i], transpose_y=True) / 4.0 for i in range(3)], 1))
        x = paddle.stack(matches, 2)
        x = self.pool(F.elu(self.first(x)))
        x = self.pool(F.elu(self.second(x)))
        return F.sigmoid(self.out(x.flatten(1)))


class WaveNet(nn.Layer):
    """Dilated causal convolutions, gated, on a mel spectrogram."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv1D(1, 16, 1)
        self.dilated = nn.LayerList([nn.Conv1D(16, 32, 2, dilation=2**k) for k in range(4)])
        self.condition = nn.LayerList([nn.Conv1D(20, 32, 1) for _ in range(4)])
        self.residual = nn.LayerList([nn.Conv1D(16, 16, 1) for _ in range(4)])
        self.skip = nn.LayerList([nn.Conv1D(16, 16, 1) for _ in range(4)])
        self.out = nn.Sequential(nn.ReLU(), nn.Conv1D(16, 16, 1), nn.ReLU(), nn.Conv1D(16, 30, 1))
        self.up = nn.Conv2DTranspose(1, 1, (3, 8), (1, 4), (1, 2))

    def forward(self, wave, mel):
        mel = self.up(mel.unsqueeze(1)).squeeze(1)
        hidden = self.first(wave)
        total = 0
        for k in range(4):
            both = self.dilated[k](F.pad(hidden, [2**k, 0], data_format="NCL")) + self.condition[k](mel)
            gated = paddle.tanh(both[:, :16]) * F.sigmoid(both[:, 16:])
            total = total + self.skip[k](gated)
            hidden = (hidden + self.residual[k](gated)) * math.sqrt(0.5)
        return self.out(total)


class ClariNet(nn.Layer):
    """Noise made a wave by two inverse autoregressive flows."""

    def __init__(self):
        super().__init__()
        self.flows = nn.LayerList([WaveNet() for _ in range(2)])

    def forward(self, noise, mel):
        for flow in self.flows:
            out = flow(F.pad(noise, [1, 0], data_format="NCL")[:, :, :-1], mel)
            noise = noise * paddle.exp(paddle.clip(out[:, 1:2], -7.0, 7.0)) + out[:, 0:1]
        return noise


class DeepVoice3(nn.Layer):
    """Convolutions with gated linear units, and attention from the spectrogram to the text."""

    def __init__(self):
        super().__init__()
        self.letters = nn.Embedding(60, 32)
        self.encoder = nn.LayerList([nn.Conv1D(32, 64, 5, padding=2) for _ in range(2)])
        self.prenet = nn.Linear(20, 32)
        self.decoder = nn.LayerList([nn.Conv1D(32, 64, 5) for _ in range(2)])
        self.query, self.key = nn.Linear(32, 32), nn.Linear(32, 32)
        self.out, self.done = nn.Linear(32, 20), nn.Linear(32, 1)

    @staticmethod
    def gated(convolution, x, causal):
        padded = F.pad(x, [4, 0], data_format="NCL") if causal else x
        a, b = paddle.split(convolution(padded), 2, 1)
        return (a * F.sigmoid(b) + x) * math.sqrt(0.5)

    def forward(self, text, mel):
        letters = self.letters(text)
        hidden = letters.transpose([0, 2, 1])
        for convolution in self.encoder:
            hidden = self.gated(convolution, hidden, False)
        key = hidden.transpose([0, 2, 1])
        value = (key + letters) * math.sqrt(0.5)
        spoken = F.relu(self.prenet(mel)).transpose([0, 2, 1])
        for convolution in self.decoder:
            query = self.gated(convolution, spoken, True).transpose([0, 2, 1])
            score = paddle.matmul(self.query(query), self.key(key), transpose_y=True) / math.sqrt(32.0)
            spoken = ((query + paddle.matmul(F.softmax(score, -1), value)) * math.sqrt(0.5)).transpose([0, 2, 1])
        spoken = spoken.transpose([0, 2, 1])
        return self.out(spoken), F.sigmoid(self.done(spoken))


class WaveFlow(nn.Layer):
    """A wave folded to eight rows; each row's affine map follows from the rows above, inverted row by row."""

    def __init__(self, rows=8, flows=2):
        super().__init__()
        self.rows = rows
        self.flows = nn.LayerList([RowFlow() for _ in range(flows)])
        self.up = nn.Conv2DTranspose(1, 1, (3, 32), (1, 16), (1, 8))

    def forward(self, noise, mel):
        mel = self.up(mel.unsqueeze(1)).squeeze(1).reshape([1, 20, -1, self.rows]).transpose([0, 1, 3, 2])
        wave = noise.reshape([1, 1, -1, self.rows]).transpose([0, 1, 3, 2])
        for flow in self.flows:
            wave = paddle.flip(wave, [2])
            done = [wave[:, :, 0:1]]
            for row in range(1, self.rows):
                shift, scale = flow(paddle.concat(done, 2), mel[:, :, 1 : row + 1])
                done.append((wave[:, :, row : row + 1] - shift) * paddle.exp(-scale))
            wave = paddle.concat(done, 2)
        return wave.transpose([0, 1, 3, 2]).reshape([1, -1])


class RowFlow(nn.Layer):
    """Shift and logarithm of the scale of the row after those given."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2D(1, 16, 1)
        self.layers = nn.LayerList([nn.Conv2D(16, 32, 3, dilation=(1, 2**k)) for k in range(2)])
        self.condition = nn.LayerList([nn.Conv2D(20, 32, 1) for _ in range(2)])
        self.residual = nn.LayerList([nn.Conv2D(16, 16, 1) for _ in range(2)])
        self.out = nn.Conv2D(16, 2, 1)

    def forward(self, rows, mel):
        hidden = self.first(rows)
        for k in range(2):
            padded = F.pad(hidden, [2**k, 2**k, 2, 0])
            both = self.layers[k](padded) + self.condition[k](mel)
            hidden = hidden + self.residual[k](paddle.tanh(both[:, :16]) * F.sigmoid(both[:, 16:]))
        last = self.out(hidden[:, :, -1:])
        return last[:, 0:1], paddle.tanh(last[:, 1:2])


class TransformerTTS(nn.Layer):
    """Letters to a spectrogram, a frame at a time until the stop token says so: a loop over a growing tensor."""

    def __init__(self, width=32, mels=20):
        super().__init__()
        self.letters = nn.Embedding(60, width)
        self.text_scale = self.create_parameter([1], default_initializer=nn.initializer.Constant(1.0))
        self.mel_scale = self.create_parameter([1], default_initializer=nn.initializer.Constant(0.7))
        self.register_buffer("positions", self.table(64, width))
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(width, 2, 64, 0.0), 2)
        self.prenet = nn.Sequential(nn.Linear(mels, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(width, 2, 64, 0.0), 2)
        self.out = nn.Linear(width, mels)
        self.stop = nn.Linear(width, 1)
        self.postnet = nn.Sequential(nn.Conv1D(mels, 32, 5, padding=2), nn.Tanh(), nn.Conv1D(32, mels, 5, padding=2))

    @staticmethod
    def table(length, width):
        place = paddle.arange(length, dtype="float32").unsqueeze(1)
        rate = paddle.exp(paddle.arange(0, width, 2, dtype="float32") * (-math.log(10000.0) / width))
        return paddle.stack([paddle.sin(place * rate), paddle.cos(place * rate)], -1).reshape([1, length, width])

    def forward(self, text):
        length = paddle.shape(text)[1]
        memory = self.encoder(self.letters(text) + self.text_scale * self.positions[:, :length])
        mel = paddle.zeros([paddle.shape(text)[0], 1, 20])
        i = paddle.full([], 1, "int64")
        more = paddle.full([], True, "bool")
        while more:
            hidden = self.prenet(mel) + self.mel_scale * self.positions[:, :i]
            mask = paddle.triu(paddle.full([i, i], -1e9), 1)
            hidden = self.decoder(hidden, memory, mask)[:, -1:]
            mel = paddle.concat([mel, self.out(hidden)], 1)
            i = i + 1
            more = paddle.logical_and(i < 10, F.sigmoid(self.stop(hidden)).max() < 0.9)
        mel = mel[:, 1:]
        return mel + self.postnet(mel.transpose([0, 2, 1])).transpose([0, 2, 1])
