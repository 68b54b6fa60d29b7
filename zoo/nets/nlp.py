"""Text classifiers, a tagger, and a loop that generates text."""

from __future__ import annotations

import paddle
from paddle import nn


class TextClassifier(nn.Layer):
    """Embedding, an encoder that gives one vector, two layers (Senta, EmoTect)."""

    def __init__(self, encoder, width, lengths=False, vocabulary=500, embedding=32):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding, padding_idx=0)
        self.encoder = encoder
        self.hidden = nn.Linear(width, 48)
        self.out = nn.Linear(48, 2)
        self.lengths = lengths

    def forward(self, text, length=None):
        embedded = self.embedding(text)
        encoded = self.encoder(embedded, sequence_length=length) if self.lengths else self.encoder(embedded)
        return nn.functional.softmax(self.out(paddle.tanh(self.hidden(encoded))), axis=-1)


class Tagger(nn.Layer):
    """LAC: two bidirectional GRUs and a conditional random field, decoded by Viterbi's algorithm."""

    def __init__(self, vocabulary=500, embedding=32, hidden=32, labels=9):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.gru = nn.GRU(embedding, hidden, num_layers=2, direction="bidirect")
        self.emission = nn.Linear(2 * hidden, labels + 2)
        self.transitions = self.create_parameter([labels + 2, labels + 2])

    def forward(self, text, length):
        encoded, _ = self.gru(self.embedding(text), sequence_length=length)
        scores, path = paddle.text.viterbi_decode(self.emission(encoded), self.transitions, length, True)
        return path, scores


class Generation(nn.Layer):
    """generate() of a language model, greedy."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        model._fast_entry = model._fuse_gemm_entry = False

    def forward(self, input_ids):
        return self.model.generate(
            input_ids=input_ids, decode_strategy="greedy_search", max_length=6, bos_token_id=1, eos_token_id=2, pad_token_id=0
        )
