"""What packages written for older Paddle, NumPy and Python miss, put back before they are imported; no model's maths change."""

from __future__ import annotations

import collections
import collections.abc
import functools
import importlib.abc
import importlib.machinery
import inspect
import sys
import tempfile
import textwrap
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def numpy_and_collections() -> None:
    """numpy.bool and its like, and collections.Mapping and its like, which were removed."""
    import numpy as np

    for name in ("Callable", "Iterable", "Mapping", "MutableMapping", "Sequence"):
        if not hasattr(collections, name):
            setattr(collections, name, getattr(collections.abc, name))
    for alias, kind in {"bool": bool, "int": int, "float": float, "object": object}.items():
        if alias not in np.__dict__:
            setattr(np, alias, kind)


class _Absent(types.ModuleType):
    """A module of classes that do nothing, for what a package imports but its networks do not use."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def attribute(_: Any, inner: str) -> Any:
            if inner.startswith("__"):
                raise AttributeError(inner)
            return lambda *a, **k: None

        def call(_: Any, *given: Any, **__: Any) -> Any:  # as a decorator it gives the function back
            return given[0] if given and callable(given[0]) else None

        found = type(name, (), {"__init__": lambda self, *a, **k: None, "__call__": call, "__getattr__": attribute})
        setattr(self, name, found)
        return found


class _Absents(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if any(name == n or name.startswith(n + ".") for n in self.names):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> types.ModuleType:
        module = _Absent(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def without(*names: str) -> None:
    """Let these modules be imported though they are not there (readers of videos, trainers' dashboards, …)."""
    sys.meta_path.insert(0, _Absents(names))


def without_paddlenlp_extras() -> None:
    without(
        *("paddlenlp.server", "pydantic", "pydantic_core", "aistudio_sdk", "visualdl", "datasets", "seqeval", "paddlefsl", "sacremoses"),
        *("tool_helpers", "multiprocess", "dill", "typer", "rich", "uvicorn", "fastapi", "tiktoken", "paddle2onnx"),
    )


def package_folder(name: str) -> None:
    """Put site-packages/name on the path: some packages import their own insides as top-level modules."""
    import paddle

    sys.path.insert(0, str(Path(paddle.__file__).parents[1] / name))


def paddle_fluid() -> types.ModuleType:
    """The few functions of paddle.fluid that networks use, by today's."""
    import paddle

    functional = paddle.nn.functional
    without("paddle.fluid")
    import paddle.fluid as fluid  # the absent one

    layers = types.ModuleType("paddle.fluid.layers")
    pools = {"avg": functional.avg_pool3d, "max": functional.max_pool3d}

    def soft_relu(x: Any, threshold: float = 40.0) -> Any:
        return paddle.log(1 + paddle.exp(paddle.clip(x, -threshold, threshold)))

    found: dict[str, Callable[..., Any]] = {
        "matmul": paddle.matmul,
        "concat": paddle.concat,
        "resize_nearest": lambda x, scale=None, **k: functional.interpolate(x, scale_factor=scale, mode="nearest"),
        "zeros": lambda shape, dtype="float32", **k: paddle.zeros(shape, dtype),
        "pool3d": lambda x, pool_size=1, pool_type="avg", pool_stride=1, **k: pools[pool_type](x, pool_size, pool_stride),
        "reduce_mean": lambda x, dim=None, keep_dim=False: paddle.mean(x, dim, keep_dim),
        "soft_relu": soft_relu,
    }
    for name, function in found.items():
        setattr(layers, name, function)
    inner = types.ModuleType("paddle.fluid.layers.nn")
    inner.soft_relu = soft_relu  # type: ignore[attr-defined]
    layers.nn = inner  # type: ignore[attr-defined]
    sys.modules |= {"paddle.fluid.layers": layers, "paddle.fluid.layers.nn": inner}
    fluid.layers = paddle.fluid.layers = layers
    paddle.fluid = fluid
    return fluid


def mixed_arithmetic() -> None:
    """float (op) integer tensors: older Paddle made floats of both, Paddle 3 raises."""
    import paddle

    def kind(tensor: Any) -> str:
        name = str(tensor.dtype).split(".")[-1].lower()
        return "float" if "float" in name else "int" if name in ("int32", "int64") else ""

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(self: Any, other: Any) -> Any:
            if isinstance(other, kinds):
                if (kind(self), kind(other)) == ("float", "int"):
                    other = other.astype(self.dtype)
                elif (kind(self), kind(other)) == ("int", "float"):
                    self = self.astype(other.dtype)
            return function(self, other)

        return wrapped

    kinds = (paddle.Tensor, paddle.pir.Value)
    operators = "add radd sub rsub mul rmul truediv rtruediv div lt le gt ge pow mod".split()
    for cls in kinds:
        for name in (f"__{o}__" for o in operators):
            if getattr(cls, name, None) is not None:
                setattr(cls, name, wrap(getattr(cls, name)))


def zero_dim_tensors(*packages: str) -> None:
    """Before Paddle 2.5, x[i] was of shape (1,): let concat and slice take today's 0-D tensors."""
    import paddle

    concat, cut = paddle.concat, paddle.slice

    @functools.wraps(concat)
    def concat_any(x: Any, axis: Any = 0, name: Any = None) -> Any:
        if isinstance(x, list | tuple):
            x = [t.reshape([1]) if hasattr(t, "shape") and len(t.shape) == 0 else t for t in x]
        return concat(x, axis)

    def slice_any(input: Any, axes: Any, starts: Any, ends: Any) -> Any:
        return cut(input.reshape([1]) if len(input.shape) == 0 else input, axes, starts, ends)

    paddle.concat = paddle.tensor.concat = concat_any
    paddle.slice = slice_any
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in packages and getattr(module, "concat", None) is concat:
            module.concat = concat_any  # type: ignore[attr-defined]


def positional(cls: type, names: Sequence[str], allowed: int) -> None:
    """Let a constructor take more positional arguments than Paddle 3.3 does; ``names`` are theirs, in order."""
    original = cls.__init__  # type: ignore[misc]

    def init(self: Any, *given: Any, **named: Any) -> None:
        named |= dict(zip(names[allowed:], given[allowed:], strict=False))
        original(self, *given[:allowed], **named)

    cls.__init__ = init  # type: ignore[misc]


def rewrite_method(cls: type, method: str, old: str, new: str) -> None:
    """Replace a piece of a method's source.  The new source is a real file, since Paddle reads it when it traces."""
    function = inspect.unwrap(getattr(cls, method))
    source = textwrap.dedent(inspect.getsource(function))
    if old not in source:
        raise ValueError(f"{cls.__name__}.{method} has no {old!r}")
    path = Path(tempfile.mkdtemp(prefix="zoo-")) / f"{cls.__name__}_{method}.py"
    path.write_text(source.replace(old, new))
    scope = dict(function.__globals__)
    exec(compile(path.read_text(), str(path), "exec"), scope)  # noqa: S102
    setattr(cls, method, scope[method])
