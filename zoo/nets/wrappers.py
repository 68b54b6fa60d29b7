"""Wrappers that give a package's model the form in which it is exported: tensors in, tensors out."""

from __future__ import annotations

import paddle
from paddle import nn


def tensors(result):
    """The tensors of a result: those of a dict, of the tuple form of an output class, or as they are."""
    if isinstance(result, dict):
        return list(result.values())
    return result.to_tuple() if hasattr(result, "to_tuple") else result


class Segmenter(nn.Layer):
    """What PaddleSeg's export does: the first result only, then argmax or softmax over the classes."""

    def __init__(self, model, last=""):
        super().__init__()
        self.model = model
        self.last = last

    def forward(self, x):
        out = tensors(self.model(x))[0]
        if self.last == "argmax":
            return paddle.argmax(out, axis=1, dtype="int32")
        if self.last == "softmax":
            return nn.functional.softmax(out, axis=1)
        return out


class Named1(nn.Layer):
    """Call a model (or one of its methods) with keyword arguments; ``names`` are the inputs' keywords, in order, ``fixed`` further ones."""

    def __init__(self, model, names, method="forward", fixed=None):
        super().__init__()
        self.model = model
        self.names = names
        self.method = method
        self.fixed = fixed or {}

    def call(self, *given):
        return getattr(self.model, self.method)(**dict(zip(self.names, given)), **self.fixed)  # noqa: B905  (Paddle traces zip, and knows no strict)

    def forward(self, a):
        return self.call(a)


class Named2(Named1):
    def forward(self, a, b):
        return self.call(a, b)


class Named3(Named1):
    def forward(self, a, b, c):
        return self.call(a, b, c)


class Named4(Named1):
    def forward(self, a, b, c, d):
        return self.call(a, b, c, d)


class Named5(Named1):
    def forward(self, a, b, c, d, e):
        return self.call(a, b, c, d, e)


def named(model, names, method="forward", fixed=None):
    """A layer with as many inputs as names; to_static traces no signature of *args."""
    return (Named1, Named2, Named3, Named4, Named5)[len(names) - 1](model, names, method, fixed)


class Positional1(nn.Layer):
    """Call a method of a model with its inputs in order, then ``fixed`` keywords."""

    def __init__(self, model, method="forward", fixed=None):
        super().__init__()
        self.model = model
        self.method = method
        self.fixed = fixed or {}

    def call(self, *given):
        return getattr(self.model, self.method)(*given, **self.fixed)

    def forward(self, a):
        return self.call(a)


class Positional2(Positional1):
    def forward(self, a, b):
        return self.call(a, b)


class Positional3(Positional1):
    def forward(self, a, b, c):
        return self.call(a, b, c)


class Positional4(Positional1):
    def forward(self, a, b, c, d):
        return self.call(a, b, c, d)


def positional(model, count, method="forward", fixed=None):
    """The same for positional arguments."""
    return (Positional1, Positional2, Positional3, Positional4)[count - 1](model, method, fixed)


class FromDict(nn.Layer):
    """A model that takes a dict: inputs under these keys, the results in order."""

    def __init__(self, model, keys):
        super().__init__()
        self.model = model
        self.keys = keys

    def call(self, *given):
        out = self.model(dict(zip(self.keys, given)))  # noqa: B905  (as above)
        return list(out.values()) if isinstance(out, dict) else out


class FromDict1(FromDict):
    def forward(self, a):
        return self.call(a)


class FromDict2(FromDict):
    def forward(self, a, b):
        return self.call(a, b)


class FromDict3(FromDict):
    def forward(self, a, b, c):
        return self.call(a, b, c)


def from_dict(model, keys):
    return (FromDict1, FromDict2, FromDict3)[len(keys) - 1](model, keys)


class Listed(nn.Layer):
    """A model that takes a list of two tensors."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, a, b):
        return self.model([a, b])
