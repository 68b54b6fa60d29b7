"""Samples of fused operators that Paddle's CPU runs."""

from .base import f32, f64, sample

for _scalar in (0.5, 1.0):
    sample(
        "fusion_squared_mat_sub",
        lambda paddle, x, y, scalar=_scalar: paddle._C_ops.fusion_squared_mat_sub(x, y, scalar),
        x=f32(4, 5),
        constants={"y": f32(5, 3)},
        static=(1,),
    )
sample(
    "fusion_squared_mat_sub",
    lambda paddle, x, y: paddle._C_ops.fusion_squared_mat_sub(x, y, -2.0),
    x=f64(2, 3),
    constants={"y": f64(3, 4)},
    static=(1,),
)
sample(
    "fusion_repeated_fc_relu",
    lambda paddle, x, w, v, c, d: paddle._C_ops.fusion_repeated_fc_relu(x, [w, v], [c, d]),
    x=f32(4, 5),
    static=(1,),
    constants={"w": f32(5, 3), "v": f32(3, 2), "c": f32(3), "d": f32(2)},
)
sample(
    "fusion_repeated_fc_relu",
    lambda paddle, x, w, v, u, c, d, e: paddle._C_ops.fusion_repeated_fc_relu(x, [w, v, u], [c, d, e]),
    x=f32(3, 6),
    static=(1,),
    constants={"w": f32(6, 7), "v": f32(7, 4), "u": f32(4, 5), "c": f32(7), "d": f32(4), "e": f32(5)},
)
sample(
    "fusion_repeated_fc_relu",
    lambda paddle, x, w, v, c, d: paddle._C_ops.fusion_repeated_fc_relu(x, [w, v], [c, d]),
    x=f32(1, 2),
    static=(1,),
    constants={"w": f32(2, 8), "v": f32(8, 1), "c": f32(8, seed=1), "d": f32(1, low=1.0)},
)
for _flip in (False, True):
    sample(
        "linear_v2",
        lambda paddle, x, w, c, flip=_flip: paddle._C_ops.linear_v2(x, w, c, flip),
        x=f32(2, 4, 5),
        w=f32(3, 5) if _flip else f32(5, 3),
        c=f32(3),
    )
sample("linear_v2", lambda paddle, x, w, c: paddle._C_ops.linear_v2(x, w, c, False), x=f64(4, 5), w=f64(5, 3), c=f64(3))
