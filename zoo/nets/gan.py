"""PaddleGAN's models that are put together from several, and PSGAN after the paper."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn


class Style(nn.Layer):
    """StyleGAN without random noise: the picture of a latent vector."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, z):
        out = self.model([z], randomize_noise=False)
        return out[0] if isinstance(out, (list, tuple)) else out


class LapStyleDraft(nn.Layer):
    """The draft network: features of content and style, decoded."""

    def __init__(self):
        super().__init__()
        from ppgan.models.generators.builder import GENERATORS

        self.encoder = GENERATORS.get("Encoder")()
        self.decoder = GENERATORS.get("DecoderNet")()

    def forward(self, content, style):
        return self.decoder(self.encoder(content), self.encoder(style))


class FirstOrderMotion(nn.Layer):
    """Key points of two pictures, and the first moved as the second."""

    def __init__(self):
        super().__init__()
        from ppgan.models.generators.occlusion_aware import OcclusionAwareGenerator
        from ppgan.modules.keypoint_detector import KPDetector

        common = {"num_kp": 10, "num_channels": 3, "estimate_jacobian": True}
        sizes = {"block_expansion": 16, "max_features": 64}
        motion = {"num_blocks": 3, "scale_factor": 0.25, **sizes}
        self.keypoints = KPDetector(temperature=0.1, **motion, **common)
        self.generator = OcclusionAwareGenerator(
            num_down_blocks=2, num_bottleneck_blocks=2, estimate_occlusion_map=True, dense_motion_params=motion, **sizes, **common
        )

    def forward(self, source, driving):
        found = self.generator(source, kp_source=self.keypoints(source), kp_driving=self.keypoints(driving))
        return found["prediction"]


class MakeUp(nn.Layer):
    """PSGAN: the reference's make-up, as a scale and a shift for each place, moved to the source by attention over both faces' places."""

    def __init__(self, width=16):
        super().__init__()
        self.content = self.encoder(width)
        self.reference = self.encoder(width)
        self.scale = nn.Conv2D(width * 4, 1, 1)
        self.shift = nn.Conv2D(width * 4, 1, 1)
        self.blocks = nn.LayerList([self.block(width * 4) for _ in range(2)])
        self.decode = nn.Sequential(
            nn.Conv2DTranspose(width * 4, width * 2, 4, 2, 1),
            nn.InstanceNorm2D(width * 2),
            nn.ReLU(),
            nn.Conv2DTranspose(width * 2, width, 4, 2, 1),
            nn.InstanceNorm2D(width),
            nn.ReLU(),
            nn.Conv2D(width, 3, 7, padding=3),
            nn.Tanh(),
        )

    @staticmethod
    def encoder(width):
        layers = [nn.Conv2D(3, width, 7, padding=3), nn.InstanceNorm2D(width), nn.ReLU()]
        for narrow in (width, width * 2):
            layers += [nn.Conv2D(narrow, narrow * 2, 4, 2, 1), nn.InstanceNorm2D(narrow * 2), nn.ReLU()]
        return nn.Sequential(*layers)

    @staticmethod
    def block(width):
        return nn.Sequential(
            nn.Conv2D(width, width, 3, padding=1), nn.InstanceNorm2D(width), nn.ReLU(), nn.Conv2D(width, width, 3, padding=1)
        )

    def forward(self, source, reference, mask):
        x = self.content(source)
        r = self.reference(reference)
        regions = F.interpolate(mask, scale_factor=0.25, mode="nearest")
        query = paddle.concat([x, regions * 4], 1).flatten(2)
        key = paddle.concat([r, regions * 4], 1).flatten(2)
        attention = F.softmax(paddle.matmul(query, key, transpose_x=True) * 0.01, -1)

        def moved(values):
            there = paddle.matmul(values.flatten(2), attention, transpose_y=True)
            return there.reshape([-1, 1, 16, 16])

        x = x * moved(self.scale(r)) + moved(self.shift(r))
        for block in self.blocks:
            x = x + block(x)
        return self.decode(x)
