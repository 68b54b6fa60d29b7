"""What a compiled model takes and gives: names, element types and dims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ArtifactError, InputError
from . import dtypes

# A dim is an int, the name of a symbol ("h"), an expression of symbols ("h // 2"), or None where nothing is known.
Dim = int | str | None
MAX_RANK = 32


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output.  ``shape`` is None when even the rank is unknown (outputs only)."""

    name: str
    dtype: str
    shape: tuple[Dim, ...] | None

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}{show_shape(self.shape)}"

    @property
    def stored(self) -> TensorSpec:
        """The tensor that the program has for it: a complex one is real, with a trailing axis of 2."""
        if self.dtype not in dtypes.COMPLEX:
            return self
        return TensorSpec(self.name, dtypes.COMPLEX[self.dtype], None if self.shape is None else (*self.shape, 2))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "shape": None if self.shape is None else list(self.shape)}

    @classmethod
    def from_json(cls, data: Any) -> TensorSpec:
        """ArtifactError unless ``data`` is what to_json writes."""
        match data:
            case {"name": str(name), "dtype": str(dtype), "shape": None | list() as shape}:
                pass
            case _:
                raise ArtifactError("the signature is damaged: an entry has no name, dtype and shape")
        if dtype not in dtypes.PLAIN | dtypes.EXTENDED:
            raise ArtifactError(f"the signature has an unknown element type {dtype!r}", where=name)
        if shape is None:
            return cls(name, dtype, None)
        if len(shape) > MAX_RANK or not all(d is None or isinstance(d, str) or _is_size(d) for d in shape):
            raise ArtifactError(f"the signature has a damaged shape {shape!r:.200}", where=name)
        return cls(name, dtype, tuple(shape))


def _is_size(dim: Any) -> bool:
    return isinstance(dim, int) and not isinstance(dim, bool) and 0 <= dim < 1 << 62


def show_shape(shape: tuple[Dim, ...] | None) -> str:
    return "[…]" if shape is None else f"[{', '.join('?' if d is None else str(d) for d in shape)}]"


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs in the order that the model takes them and the outputs in fetch order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def to_json(self) -> dict[str, Any]:
        return {"inputs": [s.to_json() for s in self.inputs], "outputs": [s.to_json() for s in self.outputs]}

    @classmethod
    def from_json(cls, data: Any) -> Signature:
        """ArtifactError unless ``data`` is what to_json writes."""
        match data:
            case {"inputs": list(inputs), "outputs": list(outputs)}:
                signature = cls(tuple(map(TensorSpec.from_json, inputs)), tuple(map(TensorSpec.from_json, outputs)))
            case _:
                raise ArtifactError("the signature is damaged: it has no inputs and outputs")
        if any(spec.shape is None for spec in signature.inputs):
            raise ArtifactError("the signature is damaged: an input has no shape")
        for specs in (signature.inputs, signature.outputs):
            if len({spec.name for spec in specs}) != len(specs):
                raise ArtifactError("the signature is damaged: a name stands twice")
        return signature


def check_names(specs: tuple[TensorSpec, ...], given: Mapping[str, Any]) -> None:
    """InputError, with all missing and all unknown names, unless ``given`` has exactly the inputs of ``specs``."""
    if len(given) == len(specs):
        for spec in specs:
            if spec.name not in given:
                break
        else:
            return
    known = {spec.name for spec in specs}
    missing = [spec.name for spec in specs if spec.name not in given]
    unknown = [name for name in given if name not in known]
    parts = [f"missing {', '.join(map(repr, missing))}"] if missing else []
    parts += [f"unknown {', '.join(map(repr, unknown))}"] if unknown else []
    expected = "; ".join(map(str, specs)) or "no inputs"
    raise InputError(f"the inputs do not fit the model: {'; '.join(parts)}", todo=f"give exactly: {expected}")


def check_shape(spec: TensorSpec, shape: tuple[int, ...], symbols: dict[str, tuple[int, str]]) -> None:
    """InputError unless ``shape`` fits ``spec``.

    ``symbols`` (name → size and the place that gave it) is extended: one symbol has one size in all inputs of a call.
    Dims that are expressions are not checked here; the compiled model checks them itself.
    """
    expected = spec.shape or ()
    if len(shape) != len(expected):
        raise InputError(
            f"input {spec.name!r} has rank {len(shape)}, expected {len(expected)}",
            where=f"given shape {list(shape)}, expected {show_shape(spec.shape)}",
            todo="reshape the array",
        )
    for axis, (size, dim) in enumerate(zip(shape, expected, strict=True)):
        if isinstance(dim, int):
            if size != dim:
                raise InputError(
                    f"dim {axis} of input {spec.name!r} is {size}, expected {dim}",
                    where=f"given shape {list(shape)}, expected {show_shape(spec.shape)}",
                    todo="give an array of that shape, or compile the model with this dim dynamic (shapes=…)",
                )
        elif isinstance(dim, str) and dim.isidentifier():
            seen = symbols.setdefault(dim, (size, f"dim {axis} of {spec.name!r}"))
            if seen[0] != size:
                raise InputError(
                    f"dim {axis} of input {spec.name!r} is {size}, but {dim!r} is {seen[0]} in {seen[1]}",
                    where=f"given shape {list(shape)}, expected {show_shape(spec.shape)}",
                    todo=f"give every dim {dim!r} the same size",
                )
