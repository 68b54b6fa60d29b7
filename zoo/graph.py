"""Graph networks: those of PGL, message passing of paddle.geometric, and small ones after the papers."""

from __future__ import annotations

from typing import Any

from . import compat
from .recipe import OWN, REDUCED, Input, Recipe, tokens

PACKAGE = "pgl==2.2.6"
NODES, EDGES, FEATURES = 12, 40, 16


def setup() -> None:
    """PGL tells tensors from arrays by a check that knows no values of Paddle 3's programs."""
    import sys

    compat.without("visualdl")
    compat.paddle_fluid()
    import paddle
    import pgl.nn  # noqa: F401
    import pgl.utils.helper  # noqa: F401

    kinds = (paddle.Tensor, paddle.pir.Value, paddle.static.Variable)

    def check_is_tensor(*data: Any) -> bool:
        return any(isinstance(d, kinds) for d in data)

    for name, module in list(sys.modules.items()):
        if name.startswith("pgl") and hasattr(module, "check_is_tensor"):
            module.check_is_tensor = check_is_tensor  # type: ignore[attr-defined]


def build(convolution: str, depth: int, options: dict[str, Any], sizes: str, pool: str, pool_options: dict[str, Any], classes: int) -> Any:
    """``sizes``: what the convolution takes: "both", "hops" (both and a number), "heads" (an output of four heads), "out" or none."""
    import pgl.nn
    from paddle import nn

    from .nets import graph

    def convolve(inputs: int, outputs: int) -> Any:
        given = {"both": (inputs, outputs), "hops": (inputs, outputs, 4), "heads": (inputs, outputs // 4), "out": (outputs,), "": ()}[sizes]
        return getattr(pgl.nn, convolution)(*given, **options)

    pooled = None
    if pool == "GlobalAttention":
        pooled = pgl.nn.GlobalAttention(nn.Linear(16, 1), nn.Linear(16, 8))
    elif pool:
        pooled = getattr(pgl.nn, pool)(**pool_options)
    last = nn.Linear(16, classes) if classes else None
    if convolution == "GraphSageConv":
        return graph.Sage([convolve(FEATURES, 16), convolve(16, 16)])
    return graph.Network([convolve(FEATURES if i == 0 else 16, 16) for i in range(depth)], pooled, last)


_NODE = ("int", 0, NODES)
_EDGE = Input((None,), (EDGES,), "int64", _NODE)


def _graph_inputs() -> tuple[Input, ...]:
    return (
        Input((1,), (1,), "int32", ("array", (NODES,)), "num_nodes"),
        Input((None, 2), (EDGES, 2), "int64", _NODE, "edges"),
        Input((None, FEATURES), (NODES, FEATURES), name="feat"),
    )


def _pgl(name: str, convolution: str, sizes: str = "both", depth: int = 2, **more: Any) -> Recipe:
    slides = more.pop("slides", ())
    arguments = {"convolution": convolution, "depth": depth, "options": {}, "sizes": sizes, "pool": "", "pool_options": {}, "classes": 0}
    return Recipe(
        *("graph", name, "graph:build", _graph_inputs(), PACKAGE, REDUCED),
        arguments=arguments | more,
        setup="graph:setup",
        slides=slides,
    )


def recipes() -> list[Recipe]:
    heads: dict[str, Any] = {"num_heads": 4, "feat_drop": 0.0, "attn_drop": 0.0}
    relu, hops = {"activation": "relu"}, {"k_hop": 2}
    return [
        _pgl("GCN", "GCNConv", options=relu),
        _pgl("GAT", "GATConv", "heads", options=heads),
        _pgl("GATv2", "GATv2Conv", "heads", options=heads),
        *(
            _pgl(f"GraphSAGE_{a}", "GraphSageConv", options={"aggr_func": a}, slides=("GraphSAGE",) if a == "mean" else ())
            for a in ("mean", "sum", "max")
        ),
        _pgl("GIN", "GINConv", options=relu),
        _pgl("APPNP", "APPNP", "", 1, options={"k_hop": 3}, classes=4),
        _pgl("SGC", "SGCConv", depth=1, options=hops),
        _pgl("SSGC", "SSGCConv", depth=1, options=hops),
        _pgl("GCNII", "GCNII", "out", options=hops),
        _pgl("TransformerConv_UniMP", "TransformerConv", "heads", options=heads),
        _pgl("LightGCN", "LightGCNConv", ""),
        _pgl("NGCF", "NGCFConv"),
        _pgl("FAGCN", "FAConv", "out"),
        _pgl("GPRGNN", "GPRConv", "hops", 1),
        *(_pgl(f"GIN_pool_{p}", "GINConv", pool="GraphPool", pool_options={"pool_type": p}, classes=3) for p in ("sum", "mean", "max")),
        _pgl("GCN_GlobalAttention", "GCNConv", pool="GlobalAttention"),
        _pgl("GCN_Set2Set", "GCNConv", pool="Set2Set", pool_options={"input_dim": 16, "n_iters": 2}),
        *_geometric(),
        *_own(),
    ]


def _geometric() -> list[Recipe]:
    given = (_EDGE, _EDGE, Input((None, FEATURES), (NODES, FEATURES)))
    order = ("array", tuple(i // 3 for i in range(10)))
    segments = (Input((None, 4), (10, 4)), Input((None,), (10,), "int64", order))
    geometric = "paddle.geometric 3.3.1"
    return [
        *(
            Recipe("graph", f"geometric_{a}", "nets.graph:Messages", given, geometric, OWN, arguments={"reduce": a})
            for a in ("sum", "mean", "max", "min")
        ),
        Recipe("graph", "segment_pool", "nets.graph:Segments", segments, geometric, OWN),
    ]


def _own() -> list[Recipe]:
    fixed = (_EDGE, _EDGE, Input((NODES, FEATURES), (NODES, FEATURES)))
    ids = Input((None,), (4,), "int64", ("int", 0, 50))
    words = Input((NODES, 8), (NODES, 8), "int64", ("int", 1, 100))

    def own(name: str, network: str, inputs: tuple[Input, ...], *slides: str) -> Recipe:
        return Recipe("graph", name, f"nets.graph:{network}", inputs, "after the paper", OWN, slides=slides)

    neighbours = Input((None, 3, 5), (4, 3, 5), "int64", ("int", 0, 50))
    return [
        own("Node2vec_skipgram", "SkipGram", (ids, tokens(50, 6, 4)), "Node2vec", "metapath2vec", "Struc2vec"),
        own("GaAN", "GaAN", fixed, "GaAN"),
        own("SAGPool", "SAGPool", fixed, "SAGPool"),
        own("GATNE", "GATNE", (ids, neighbours, Input((None,), (4,), "int64", ("int", 0, 3))), "GATNE"),
        own("ErnieSage", "ErnieSage", (words, _EDGE, _EDGE), "ErnieSage"),
    ]
