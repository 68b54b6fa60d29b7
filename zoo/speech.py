"""Recognition, synthesis and classification of speech: PaddleSpeech's models, narrow, and those of ppvector, ppacls and ppser."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import compat
from .recipe import OFFICIAL, REDUCED, Input, Recipe, numbers

PACKAGE = "paddlespeech==1.5.0"
_CONV = (
    *("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode"),
    *("weight_attr", "bias_attr", "data_format"),
)


def setup() -> None:
    """Paddle 3.3 takes fewer positional arguments in its layers, and its paddle.softmax is another function."""
    compat.without_paddlenlp_extras()
    compat.without(
        *"pathos ffmpeg flatten_dict soundfile IPython markdown2 tensorboard importlib_resources pyworld pypinyin resampy".split(),
        *"pypinyin_dict textgrid g2p_en opencc g2pM nara_wpe yacs kaldiio jsonlines ppdiffusers timer ToJyutping webrtcvad".split(),
        *"praatio paddleaudio paddlespeech_feat sacrebleu editdistance paddleslim onnxruntime pattern_singleton zhon".split(),
        *"braceexpand swig_decoders paddlespeech_ctcdecoders hyperpyyaml bokeh mido nltk parallel_wavegan soxbindings soxr".split(),
        *"pesq pystoi randomname argbind julius pyloudnorm h5py zhconv cn2an pydub jiwer av".split(),
    )
    import paddle

    nn = paddle.nn
    compat.positional(nn.Conv1D, _CONV, 7)
    compat.positional(nn.Conv2D, _CONV, 7)
    compat.positional(nn.LayerNorm, ("normalized_shape", "epsilon", "weight_attr", "bias_attr", "name"), 2)
    paddle.softmax = paddle.Tensor.softmax = nn.functional.softmax
    compat.zero_dim_tensors("paddlespeech")
    compat.mixed_arithmetic()


def build(network: str, options: dict[str, Any], inputs: int, method: str = "forward") -> Any:
    """``network``: "package.module:Class", made from the options, with its method called on so many inputs."""
    import importlib

    from .nets.wrappers import positional

    module, _, name = network.partition(":")
    return positional(getattr(importlib.import_module(module), name)(**options), inputs, method)


def build_vocoder(network: str, options: dict[str, Any], inputs: int, normalised: bool) -> Any:
    """As the package's synthesis does, without weight norm; ``normalised``: with it."""
    made = build(network, options, inputs)
    if not normalised and hasattr(made.model, "remove_weight_norm"):
        made.model.eval()
        made.model.remove_weight_norm()
    return made


def build_u2(encoder: str) -> Any:
    from .nets.speech import U2Encoder

    return U2Encoder(encoder)


def build_whisper(whole: bool) -> Any:
    from paddlespeech.s2t.models.whisper.whisper import AudioEncoder, ModelDimensions, Whisper

    from .nets.wrappers import positional

    if not whole:
        return AudioEncoder(80, 50, 64, 4, 2)
    sizes = {f"n_{part}_{what}": n for part in ("audio", "text") for what, n in (("state", 64), ("head", 4), ("layer", 2))}
    return positional(Whisper(ModelDimensions(n_mels=80, n_audio_ctx=50, n_vocab=200, n_text_ctx=32, **sizes)), 2)


def spread_durations(layer: Any) -> None:
    """Letters of random length zero would leave no sound: make the predicted ones two to four frames."""
    for name, parameter in layer.named_parameters():
        if "duration_predictor" in name and name.endswith("linear.bias"):
            parameter.set_value(np.full(parameter.shape, 1.2, "float32"))


def _recipe(name: str, build: str, *inputs: Input, source: str = PACKAGE, kind: str = REDUCED, **more: Any) -> Recipe:
    finish, slides = more.pop("finish", ""), more.pop("slides", ())
    return Recipe("speech", name, build, inputs, source, kind, arguments=more, setup="speech:setup", finish=finish, slides=slides)


def _model(name: str, network: str, *inputs: Input, source: str = PACKAGE, slides: tuple[str, ...] = (), **more: Any) -> Recipe:
    method, kind = more.pop("method", "forward"), more.pop("kind", REDUCED)
    arguments = {"network": network, "options": more, "inputs": len(inputs), "method": method}
    return _recipe(name, "speech:build", *inputs, source=source, kind=kind, slides=slides, **arguments)


def recipes() -> list[Recipe]:
    return _recognition() + _classification() + _synthesis() + _vocoders()


def _features(length: int) -> Input:
    return Input((None, None, 80), (1, length, 80))


def _recognition() -> list[Recipe]:
    deep = {
        **{"feat_size": 80, "dict_size": 100, "num_conv_layers": 2, "num_rnn_layers": 2, "rnn_size": 64, "num_fc_layers": 0},
        **{"fc_layers_size_list": [], "use_gru": False, "blank_id": 0},
    }
    network = "paddlespeech.s2t.models.ds2:DeepSpeech2InferModel"
    state = Input((2, None, 64), (2, 1, 64))
    both = {"rnn_direction": "bidirect"}
    wave = Input((1, 4000))
    mel = Input((None, 80, 100), (1, 80, 100))
    return [
        _model("DeepSpeech2_offline_bi", network, _features(40), numbers(40), slides=("DeepSpeech",), **(deep | both)),
        _model("DeepSpeech2_offline_gru", network, _features(40), numbers(40), **(deep | both | {"use_gru": True})),
        _model("DeepSpeech2_online", network, _features(39), numbers(39), state, state, rnn_direction="forward", **deep),
        *(_recipe(f"{n}_U2_encoder_ctc", "speech:build_u2", Input((1, 64, 80)), encoder=n.lower()) for n in ("Conformer", "Transformer")),
        _recipe("Whisper_encoder", "speech:build_whisper", mel, whole=False),
        _recipe("Whisper_tiny_full", "speech:build_whisper", mel, Input((None, 8), (1, 8), "int64", ("int", 0, 199)), whole=True),
        _recipe("WavLM", "nets.speech:wavlm", wave),
        _recipe("Wav2Vec2", "nets.speech:wav2vec2", wave),
    ]


def _classification() -> list[Recipe]:
    cells = "paddlespeech.cls.models.panns"
    sound = Input((None, 1, None, 64), (1, 1, 64, 64))
    ecapa = {"input_size": 80, "channels": [128, 128, 128, 128, 384], "lin_neurons": 64}
    ge2e = {"n_mels": 40, "num_layers": 2, "hidden_size": 64, "output_size": 64}
    speakers = "CAMPPlus EcapaTdnn ERes2Net ERes2NetV2 Res2Net ResNetSE TDNN"
    many, few = Input((None, None, 80), (2, 64, 80)), Input((None, None, 64), (2, 64, 64))
    full = {"kind": OFFICIAL}
    return [
        _model("ECAPA_TDNN", "paddlespeech.vector.models.ecapa_tdnn:EcapaTdnn", Input((None, 80, None), (2, 80, 60)), **ecapa),
        _model(
            *("GE2E_LSTM", "paddlespeech.vector.models.lstm_speaker_encoder:LSTMSpeakerEncoder", Input((None, None, 40), (2, 30, 40))),
            **ge2e | {"method": "embed_sequences"},
        ),
        _model("PANNs_CNN6", f"{cells}:CNN6", sound, extract_embedding=False, **full),
        _model("PANNs_CNN10", f"{cells}:CNN10", sound, extract_embedding=False, **full),
        _model("PANNs_CNN14_embedding", f"{cells}:CNN14", sound, extract_embedding=True, **full),
        *(_model(f"ppvector_{n}", f"ppvector.models:{n}", many, source="ppvector==1.1.5", input_size=80, **full) for n in speakers.split()),
        *(
            _model(f"ppacls_{n}", f"ppacls.models:{n}", few, source="ppacls==1.0.6", num_class=10, input_size=64, **full)
            for n in ("PANNS_CNN6", "PANNS_CNN10")
        ),
        _model(
            *("ppser_BiLSTM", "ppser.models.bi_lstm:BiLSTM", Input((None, 80), (2, 80))),
            **{"source": "ppser==0.0.8", "input_size": 80, "num_class": 6, **full},
        ),
    ]


def _synthesis() -> list[Recipe]:
    return [
        _recipe(
            *("FastSpeech2", "nets.speech:FastSpeech", Input((None,), (12,), "int64", ("int", 1, 59))),
            finish="speech:spread_durations",
            slides=("FastSpeech",),
        ),
    ]


def _vocoders() -> list[Recipe]:
    mel = Input((None, 80, None), (1, 80, 8))
    models = "paddlespeech.t2s.models"
    hifi = {"upsample_scales": [5, 5, 4, 3], "upsample_kernel_sizes": [10, 10, 8, 6], "channels": 64}
    pwg = {
        **{"layers": 6, "stacks": 2, "residual_channels": 16, "gate_channels": 32, "skip_channels": 16, "upsample_scales": [4, 4]},
        "aux_context_window": 2,
    }
    bands = {"channels": 96, "out_channels": 4, "upsample_scales": [5, 5, 3], "stacks": 4}

    def one(name: str, network: str, options: dict[str, Any], *inputs: Input, normalised: bool = False) -> Recipe:
        arguments = {"network": f"{models}.{network}", "options": options, "inputs": len(inputs), "normalised": normalised}
        return _recipe(name, "speech:build_vocoder", *inputs, **arguments)

    return [
        one("HiFiGAN", "hifigan:HiFiGANGenerator", hifi, mel),
        one("HiFiGAN_weight_norm", "hifigan:HiFiGANGenerator", {"channels": 32}, mel, normalised=True),
        one("MelGAN", "melgan:MelGANGenerator", {"channels": 256}, mel),
        one("MultiBandMelGAN", "melgan:MelGANGenerator", bands, mel),
        one("ParallelWaveGAN", "parallel_wavegan:PWGGenerator", pwg, Input((None, 1, 64)), Input((None, 80, 8))),
    ]
