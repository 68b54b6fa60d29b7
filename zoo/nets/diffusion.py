"""Parts of diffusion models with tensors in and out."""

from __future__ import annotations

from paddle import nn


class Chain(nn.Layer):
    """One layer after another; a list of results is one argument."""

    def __init__(self, first, second):
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, x):
        return self.second(self.first(x))


class _Part(nn.Layer):
    def __init__(self, model):
        super().__init__()
        self.model = model


class Denoiser(_Part):
    def forward(self, x, step):
        return self.model(x, step, return_dict=False)[0]


class Guided(_Part):
    def forward(self, x, step, text):
        return self.model(x, step, text, return_dict=False)[0]


class Encoder(_Part):
    """Mean and logarithm of the variance of the latent."""

    def forward(self, x):
        return self.model.quant_conv(self.model.encoder(x))


class Decoder(_Part):
    def forward(self, z):
        return self.model.decoder(self.model.post_quant_conv(z))
