"""Kernels that the tests of TVM's RPC run in a page."""

from tvm.script import ir as I
from tvm.script import tirx as T


@I.ir_module
class Kernels:
    @T.prim_func
    def main(A: T.Buffer((24, 40), "float32"), B: T.Buffer((40, 16), "float32"), C: T.Buffer((24, 16), "float32")):
        for i, j in T.grid(24, 16):
            C[i, j] = T.float32(0)
            for k in T.serial(40):
                C[i, j] = C[i, j] + A[i, k] * B[k, j]

    @T.prim_func
    def scale(a: T.handle, n: T.int64, s: T.float32):
        """Of any length."""
        m = T.int64()
        A = T.match_buffer(a, (m,), "float32")
        for i in T.serial(m):
            A[i] = A[i] * s + T.Cast("float32", n)

    @T.prim_func
    def worked(A: T.Buffer((1024,), "float32"), B: T.Buffer((1024,), "float32")):
        """With work space, and a parallel loop."""
        W = T.alloc_buffer((100000,), "float32")
        for i in T.parallel(1024):
            W[i] = T.exp(A[i])
        for i in T.serial(1024):
            B[i] = W[i] + T.erf(A[i])

    @T.prim_func
    def far(A: T.Buffer((8,), "float32"), n: T.int64):
        """Writes wherever it is told to."""
        A[n] = T.float32(1)

    @T.prim_func
    def chain(A: T.Buffer((262144,), "float32"), times: T.int64):
        """Sums of which each waits for the one before: ``times`` as many take as much longer."""
        for _t in T.serial(times):
            for i in T.serial(262144):
                A[0] = A[0] * T.float32(0.5) + A[i]


@I.ir_module
class Others:
    @T.prim_func
    def main(A: T.Buffer((7,), "int32")):
        for i in T.serial(7):
            A[i] = A[i] * A[i] + 3
