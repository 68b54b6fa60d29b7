"""Samples of Fourier transforms."""

from .base import c64, c128, f32, f64, sample

_LENGTHS = (1, 2, 3, 4, 7, 12, 16, 17, 30, 64, 67, 77, 127, 360)
_F32 = {"rtol": 0.0, "atol": 1e-6}
_F64 = {"rtol": 0.0, "atol": 1e-14}

for _n in _LENGTHS:
    sample("fft_c2c", lambda paddle, x: paddle.fft.fft(x), x=c64(3, _n), **_F32)
    sample("fft_r2c", lambda paddle, x: paddle.fft.rfft(x), x=f32(3, _n), **_F32)
for _n in (5, 8, 24, 131, 1009):
    sample("fft_c2c", lambda paddle, x: paddle.fft.ifft(x), x=c128(2, _n), **_F64)
    sample("fft_r2c", lambda paddle, x: paddle.fft.rfft(x), x=f64(2, _n), **_F64)
    sample("fft_c2r", lambda paddle, x, n=_n: paddle.fft.irfft(x, n=n), x=c128(2, _n // 2 + 1), **_F64)
for _norm in ("backward", "forward", "ortho"):
    sample("fft_c2c", lambda paddle, x, m=_norm: paddle.fft.fftn(x, axes=(-1, 0), norm=m), x=c64(3, 4, 5), **_F32)
    sample("fft_c2c", lambda paddle, x, m=_norm: paddle.fft.ifft2(x, norm=m), x=c128(2, 6, 7), **_F64)
    sample("fft_r2c", lambda paddle, x, m=_norm: paddle.fft.rfftn(x, axes=(2, 0), norm=m), x=f32(3, 4, 6), **_F32)
    sample("fft_r2c", lambda paddle, x, m=_norm: paddle.fft.ihfft(x, axis=1, norm=m), x=f64(2, 9, 3), **_F64)
    sample("fft_c2r", lambda paddle, x, m=_norm: paddle.fft.hfft2(x, norm=m), x=c64(2, 4, 5), **_F32)
    sample("fft_c2r", lambda paddle, x, m=_norm: paddle.fft.irfftn(x, axes=(0, -1), norm=m), x=c128(5, 2, 4), **_F64)
sample("fft_c2c", lambda paddle, x: paddle.fft.fft(x), x=f32(2, 10), **_F32)
sample("fft_c2c", lambda paddle, x: paddle.fft.fftshift(paddle.fft.fft2(x, s=(6, 3)), axes=-1), x=c64(4, 5), **_F32)
sample("fft_r2c", lambda paddle, x: paddle._C_ops.fft_r2c(x, [1, 0], "backward", True, False), x=f32(5, 6), **_F32)
sample("fft_c2r", lambda paddle, x: paddle.fft.hfft(x, n=7), x=c64(2, 4), **_F32)
sample("fft_c2r", lambda paddle, x: paddle.fft.irfft(x), x=c64(0, 4), dynamic="an axis of no elements", **_F32)


for _n, _hop, _normalized in ((16, 5, False), (15, 4, True), (16, 7, True)):  # Paddle's CPU fails on two sides
    sample(
        "stft",
        lambda paddle, x, w, a=(_n, _hop, _normalized, True): paddle._C_ops.stft(x, w, *a),
        x=f32(2, 50),
        w=f32(_n),
        dynamic="Paddle wants a window of static size",
        **_F32,
    )
sample("stft", lambda paddle, x: paddle.signal.stft(x, 16, 4, center=True, normalized=True), x=f64(2, 48), dynamic="Paddle too", **_F64)
sample("overlap_add", lambda paddle, x: paddle.signal.istft(x, 16, 4), x=c64(2, 9, 13), dynamic="Paddle wants static dims", **_F32)
