"""Networks that no package has, re-implemented small after their papers, and Paddle's own recurrent, audio and transformer layers."""

from __future__ import annotations

from typing import Any

from .recipe import OWN, Input, Recipe, image, numbers, tokens

PAPER = "after the paper"
_LEGACY_ONLY = ("Seq2Seq_beam_dynamic_decode",)


def _own(family: str, name: str, network: str, *inputs: Input, slides: tuple[str, ...] = (), **arguments: Any) -> Recipe:
    """``network``: "module:Class" of zoo.nets."""
    return Recipe(family, name, f"nets.{network}", inputs, PAPER, OWN, arguments=arguments, slides=slides)


def recipes() -> list[Recipe]:
    return [r for r in everything() if r.name not in _LEGACY_ONLY]


def everything() -> list[Recipe]:
    """Those too that Paddle 3 cannot write."""
    return _clicks() + _tasks() + _matching() + _reinforcement() + _ocr() + _control() + _others() + _layers()


_SPARSE = Input((None, 26), (4, 26), "int64", ("int", 0, 200), "sparse")
_DENSE = Input((None, 13), (4, 13), name="dense")


def _ids(high: int = 200, batch: int = 4) -> Input:
    return Input((None,), (batch,), "int64", ("int", 0, high))


def _items(length: int = 10, high: int = 200) -> Input:
    return tokens(high, length, 4, low=1)


def _fixed(length: int, low: int = 1, high: int = 200) -> Input:
    return Input((None, length), (4, length), "int64", ("int", low, high))


def _clicks() -> list[Recipe]:
    on_slides = ("DeepFM", "DNN", "DCN", "xDeepFM")
    names = {n: n for n in ("LR", "FM", "DeepFM", "WideDeep", "DNN", "NFM", "AFM", "PNN", "DCN", "AutoInt", "FiBiNET")}
    names["xDeepFM"] = "XDeepFM"
    out = [
        _own("recommendation", n, f"recommendation:{c}", _SPARSE, _DENSE, slides=(n,) if n in on_slides else ()) for n, c in names.items()
    ]
    return [*out, _own("recommendation", "DCNv2", "recommendation:DCN", _SPARSE, _DENSE, second=True)]


def _tasks() -> list[Recipe]:
    wide = Input((None, 64), (4, 64))
    mask = Input((None, None), (4, 10), values="nets.values:history_mask")
    names = {"MMoE": "MMoE", "PLE": "", "ShareBottom": "share-bottom"}
    return [
        *(_own("recommendation", n, f"recommendation:{n}", wide, slides=(s,) if s else ()) for n, s in names.items()),
        _own("recommendation", "ESMM", "recommendation:ESMM", _SPARSE, slides=("ESMM",)),
        _own("recommendation", "NCF", "recommendation:NCF", _ids(), _ids(), slides=("NCF",)),
        _own("recommendation", "DIN", "recommendation:DIN", _items(), _items(high=50), _ids(), _ids(50), mask, slides=("DIN",)),
        _own("recommendation", "DIEN", "recommendation:DIEN", _items(), _ids(), numbers(10, 8, 5, 2)),
    ]


def _matching() -> list[Recipe]:
    lengths = numbers(10, 8, 5, 2)
    session = (
        Input((None, 6), (2, 6), "int64", ("int", 0, 100)),
        Input((None, 5), (2, 5), "int64", ("int", 0, 6)),
        Input((None, 1), (2, 1), "int64", ("int", 0, 5)),
        *(Input((None, 6, 6), (2, 6, 6), values="uniform") for _ in range(2)),
        Input((None, 5), (2, 5), values="ones"),
    )

    def one(name: str, network: str, *inputs: Input, slide: str = "") -> Recipe:
        return _own("recommendation", name, f"matching:{network}", *inputs, slides=(slide,) if slide else ())

    return [
        one("GRU4Rec", "GRU4Rec", _items(), lengths, slide="GRU4Rec"),
        one("TagSpace", "TagSpace", _items(), _ids(50), _ids(50), slide="TagSpace"),
        one("TextClassification_CNN", "TextCNN", _items(), slide="TextClassification"),
        one("Multiview_Simnet", "MultiviewSimnet", _items(), _items(8), slide="Multiview-Simnet"),
        one("DSSM", "DSSM", _items(), _items(8), slide="SimNet"),
        one("SSR", "SSR", _items(), lengths, _ids(batch=6), slide="SSR"),
        one("SR_GNN", "SRGNN", *session, slide="GNN (SR-GNN)"),
        one("TDM_beam", "TDM", Input((None, 16), (3, 16)), slide="TDM"),
        one("SASRec", "SASRec", _fixed(10)),
        one("MIND_capsule", "MIND", _fixed(10)),
        one("YouTubeDNN", "YouTubeDNN", _fixed(7, 0), _fixed(5, 0), Input((None, 13), (4, 13))),
        one("Word2Vec", "Word2Vec", _ids(), _ids()),
    ]


def _reinforcement() -> list[Recipe]:
    frames = Input((None, 4, 42, 42), (2, 4, 42, 42), values="nets.values:pixels")
    joints, action = Input((None, 17), (3, 17)), Input((None, 6), (3, 6))
    state = Input((1, None, 32), (1, 2, 32))

    def one(name: str, network: str, *inputs: Input, slide: str = "", **arguments: Any) -> Recipe:
        return _own("rl", name, f"reinforcement:{network}", *inputs, slides=(slide,) if slide else (), **arguments)

    steps = tuple(Input((None, 5, w), (2, 5, w)) for w in (1, 17, 6))
    return [
        one("DQN_atari", "FrameValues", frames, slide="DQN"),
        one("DuelingDQN_atari", "FrameValues", frames, dueling=True),
        *(one(f"{n}_atari", "FramePolicy", frames, slide=n) for n in ("A2C", "GA3C", "IMPALA")),
        one("DDPG_actor", "Actor", joints, slide="DDPG"),
        one("DDPG_critic", "Critic", joints, action),
        one("TD3_critic", "Critic", joints, action, slide="TD3", twin=True),
        one("SAC_actor", "Actor", joints, slide="SAC", spread=True),
        one("PPO_mujoco", "PPO", joints, action, slide="PPO"),
        one("MADDPG_actor", "Policy", joints, slide="MADDPG"),
        one("QMIX_mixer", "QMixer", Input((None, 3), (4, 3)), Input((None, 20), (4, 20))),
        one("QMIX_agent", "QMixAgent", Input((None, 20), (4, 20)), Input((None, 32), (4, 32))),
        one("R2D2_lstm", "R2D2", Input((None, None, 20), (2, 6, 20)), state, state),
        one("DecisionTransformer", "DecisionTransformer", *steps, Input((None, 5), (2, 5), "int64", ("int", 0, 50))),
    ]


def _ocr() -> list[Recipe]:
    line, fixed = Input((None, 3, 32, None), (2, 3, 32, 64)), Input((None, 3, 32, 64), (2, 3, 32, 64))

    def one(name: str, network: str, given: Input, slide: str = "", **arguments: Any) -> Recipe:
        return _own("ocr", name, f"ocr:{network}", given, slides=(slide,) if slide else (), **arguments)

    return [
        one("CRNN_lstm", "CRNN", line, "CRNN"),
        one("CRNN_gru", "CRNN", line, cell="GRU"),
        one("Rosetta", "Rosetta", line, "Rosetta"),
        one("STAR_Net", "STARNet", fixed, "STAR-Net"),
        one("RARE", "RARE", fixed, "RARE"),
        one("DB_r18", "DB", image(64, dynamic="all"), "DB"),
        one("EAST_r18", "EAST", image(64), "EAST"),
        one("SVTR_tiny", "SVTR", Input((None, 3, 32, 100), (2, 3, 32, 100))),
    ]


def _control() -> list[Recipe]:
    eight = Input((None, 8), (3, 8))
    boxes = (Input((None, 4), (20, 4), values="nets.values:boxes"), Input((None,), (20,), values="uniform"))

    def count(n: int) -> Input:
        return Input((1,), (1,), "int64", ("array", (n,)))

    def one(name: str, network: str, *inputs: Input, slides: tuple[str, ...] = ()) -> Recipe:
        return _own("control_flow", name, f"control:{network}", *inputs, slides=slides)

    return [
        one("while_linear", "While", eight, count(5)),
        one("if_else", "Branch", eight),
        one("while_nested_if", "BranchInWhile", eight, count(4)),
        one("Seq2Seq_attn_greedy_while", "GreedyTranslator", tokens(50, 7, 3, low=3), slides=("Seq2Seq",)),
        one("Seq2Seq_beam_dynamic_decode", "BeamTranslator", Input((2, 7), (2, 7), "int64", ("int", 3, 50))),
        one("rnn_for_range_tensorarray", "LoopedRNN", Input((None, None, 8), (2, 5, 8))),
        one("nms_dynamic_output", "Suppress", *boxes),
    ]


def _others() -> list[Recipe]:
    """Pictures, videos, points, speech and dialogue."""
    points, mel = Input((None, 3, 128), (2, 3, 128)), Input((None, 20, 8), (1, 20, 8))
    wave = Input((None, 1, 32), (1, 1, 32))

    def one(name: str, network: str, *inputs: Input, slide: str = "", **arguments: Any) -> Recipe:
        return _own("own", name, network, *inputs, slides=(slide,) if slide else (), **arguments)

    return [
        one("ELMo", "sound:ELMo", Input((None, 6, 8), (2, 6, 8), "int64", ("int", 1, 60)), slide="ELMo"),
        one(
            *("DAM", "sound:DAM", Input((None, 9, 12), (2, 9, 12), "int64", ("int", 1, 200))),
            Input((None, 12), (2, 12), "int64", ("int", 1, 200)),
            slide="DAM",
        ),
        one("WaveNet", "sound:WaveNet", wave, mel, slide="WaveNet"),
        one("ClariNet_IAF", "sound:ClariNet", wave, mel, slide="ClariNet"),
        one("DeepVoice3", "sound:DeepVoice3", tokens(60, 9, 1, low=1), Input((None, None, 20), (1, 7, 20)), slide="DeepVoice3"),
        one("WaveFlow", "sound:WaveFlow", Input((1, 128)), Input((1, 20, 8)), slide="WaveFlow"),
        one("TransformerTTS_loop", "sound:TransformerTTS", Input((None, None), (1, 9), "int64", ("int", 1, 60)), slide="TransformerTTS"),
        one("PointNet_cls", "points:PointNet", points),
        one("PointNet_seg", "points:PointNet", points, each=True),
        one("PointNet2_SSG", "points:PointNet2", Input((2, 64, 3)), slide="PointNet++"),
        one("PointRCNN", "points:PointRCNN", Input((2, 64, 3)), slide="PointRCNN"),
        one("NonLocal3D", "slides:NonLocal", Input((None, 3, 4, 16, 16)), slide="Non-Local"),
        one("StNet", "slides:StNet", Input((None, 7, 15, 32, 32)), slide="StNet"),
        one("BSN_TEM", "slides:BSN", Input((None, 100, None), (1, 100, 50)), slide="BSN"),
        one("ICNet", "slides:ICNet", image(64), slide="ICNet"),
        one("LaneNet_ENet", "slides:LaneNet", image(32), slide="LaneNet"),
        one("CornerNet_cornerpool", "slides:CornerNet", image(64), slide="CornerNet"),
        one("PyramidBox_LFPN", "slides:PyramidBox", Input((1, 3, 64, 64)), slide="PyramidBox"),
        one("CBNet_backbone", "slides:CBNet", image(64), slide="CBNet"),
    ]


def build_layer(name: str, options: dict[str, Any]) -> Any:
    """A layer of paddle.nn or paddle.audio.features."""
    import paddle

    scope = paddle.nn if hasattr(paddle.nn, name) else paddle.audio.features
    return getattr(scope, name)(**options)


def _layers() -> list[Recipe]:
    def layer(family: str, name: str, cls: str, *inputs: Input, slides: tuple[str, ...] = (), **options: Any) -> Recipe:
        source = "paddle.audio 3.3.1" if family == "audio" else "paddle.nn 3.3.1"
        arguments = {"name": cls, "options": options}
        return Recipe(family, name, "own:build_layer", inputs, source, arguments=arguments, slides=slides)

    wave = Input((None, 2000), (1, 2000))
    fft = {"n_fft": 256, "hop_length": 128}
    out = [
        layer("audio", "Spectrogram", "Spectrogram", wave, **fft),
        layer("audio", "LogMelSpectrogram", "LogMelSpectrogram", wave, sr=16000, n_mels=40, **fft),
        layer("audio", "MFCC", "MFCC", wave, sr=16000, n_mfcc=13, n_fft=256, n_mels=40),
        layer(
            *("layers", "Transformer", "Transformer", Input((None, 7, 32), (2, 7, 32)), Input((None, 5, 32), (2, 5, 32))),
            **{"d_model": 32, "nhead": 4, "num_encoder_layers": 2, "num_decoder_layers": 2, "dim_feedforward": 64, "dropout": 0.0},
        ),
    ]
    for cls in ("LSTM", "GRU", "SimpleRNN"):
        sizes = {"input_size": 16, "hidden_size": 24}
        slides = ("DeepASR",) if cls == "LSTM" else ()
        both = Input((None, None, 16), (2, 6, 16))
        out.append(layer("layers", f"{cls}_bi2", cls, both, slides=slides, num_layers=2, direction="bidirect", **sizes))
        out.append(layer("layers", f"{cls}_timemajor", cls, Input((None, None, 16), (6, 2, 16)), time_major=True, **sizes))
    return out
