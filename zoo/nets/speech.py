"""PaddleSpeech's models in the form of its export."""

from __future__ import annotations

import paddle
from paddle import nn


class Config(dict):
    """A dict whose items are attributes too, as the package's yacs nodes are."""

    def __getattr__(self, name):
        if name not in self:
            raise AttributeError(name)
        return Config(self[name]) if isinstance(self[name], dict) else self[name]

    def clone(self):
        return Config(self)

    def defrost(self):
        pass

    freeze = defrost


class U2Encoder(nn.Layer):
    """The encoder on a whole utterance without padding, and the CTC head."""

    def __init__(self, encoder):
        super().__init__()
        from paddlespeech.s2t.models.u2 import U2Model

        drop = {"dropout_rate": 0.0, "positional_dropout_rate": 0.0}
        layers = {"attention_heads": 4, "linear_units": 128, "num_blocks": 2}
        conformer = {
            **{"use_cnn_module": True, "cnn_module_kernel": 15, "activation_type": "swish", "pos_enc_layer_type": "rel_pos"},
            "selfattention_layer_type": "rel_selfattn",
        }
        config = {
            **{"cmvn_file": None, "cmvn_file_type": "json", "encoder": encoder, "decoder": "transformer", "input_dim": 80},
            **{"output_dim": 100, "vocab_size": 100, "unk_id": 1, "init_type": "kaiming_uniform"},
            "encoder_conf": {
                **{"output_size": 64, "attention_dropout_rate": 0.0, "input_layer": "conv2d", "normalize_before": True},
                **layers,
                **drop,
                **(conformer if encoder == "conformer" else {}),
            },
            "decoder_conf": {"self_attention_dropout_rate": 0.0, "src_attention_dropout_rate": 0.0, **layers, **drop},
            "model_conf": {"ctc_weight": 0.3, "lsm_weight": 0.1, "length_normalized_loss": False},
        }
        self.model = U2Model(Config(config))

    def forward(self, x):
        encoder = self.model.encoder
        mask = paddle.ones([1, 1, x.shape[1]], "bool")
        hidden, position, mask = encoder.embed(x, mask, offset=0)
        for layer in encoder.encoders:
            hidden, mask, _, _ = layer(hidden, mask, position, mask)
        return self.model.ctc.log_softmax(encoder.after_norm(hidden))


class FastSpeech(nn.Layer):
    """Letters to a spectrogram; the predicted durations decide its length."""

    def __init__(self):
        super().__init__()
        from paddlespeech.t2s.models.fastspeech2 import FastSpeech2

        predictors = {f"{p}_predictor_{w}": n for p in ("duration", "pitch") for w, n in (("layers", 2), ("chans", 64))}
        self.model = FastSpeech2(
            **{"idim": 60, "odim": 80, "adim": 64, "aheads": 2, "elayers": 2, "eunits": 128, "dlayers": 2, "dunits": 128},
            **{"positionwise_layer_type": "conv1d", "positionwise_conv_kernel_size": 3, "postnet_layers": 3, "postnet_chans": 64},
            **{"duration_predictor_kernel_size": 3, "energy_predictor_chans": 64},
            **{"pitch_embed_kernel_size": 1, "energy_embed_kernel_size": 1},
            **predictors,
        )

    def forward(self, letters):
        out = self.model.inference(letters)
        return out[0] if isinstance(out, (tuple, list)) else out


def wavlm():
    from paddlespeech.s2t.models.wavlm.wavlm_paddle import WavLM, WavLMConfig

    from .wrappers import positional

    sizes = {
        **{"extractor_mode": "default", "encoder_layers": 2, "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 128},
        **{"encoder_attention_heads": 4, "conv_feature_layers": "[(32,10,5)] + [(32,3,2)] * 4 + [(32,2,2)] * 2", "conv_pos": 16},
        **{"conv_pos_groups": 4, "relative_position_embedding": True, "gru_rel_pos": True, "num_buckets": 32, "max_distance": 80},
    }
    return positional(WavLM(WavLMConfig(sizes)), 1, "extract_features")


def wav2vec2():
    from paddlespeech.s2t.models.wav2vec2.modules.modeling_wav2vec2 import Wav2Vec2ConfigPure, Wav2Vec2Model

    from .wrappers import positional

    layers = {
        **{"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128, "conv_dim": [32] * 7},
        **{"conv_kernel": [10, 3, 3, 3, 3, 2, 2], "conv_stride": [5, 2, 2, 2, 2, 2, 2], "num_feat_extract_layers": 7},
        **{"conv_bias": False, "feat_extract_norm": "group", "feat_extract_activation": "gelu", "hidden_act": "gelu"},
        **{"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "vocab_size": 32, "layer_norm_eps": 1e-5},
        **{"initializer_range": 0.02, "do_stable_layer_norm": False, "layerdrop": 0.0, "output_hidden_size": 64},
    }
    dropouts = ("hidden", "activation", "attention", "feat_proj", "feat_quantizer", "final")
    training = {
        **{"apply_spec_augment": False, "mask_time_prob": 0.0, "mask_feature_prob": 0.0, "mask_time_length": 10},
        **{"mask_time_min_masks": 2, "mask_feature_length": 10, "mask_feature_min_masks": 0, "num_codevectors_per_group": 8},
        **{"num_codevector_groups": 2, "contrastive_logits_temperature": 0.1, "num_negatives": 10, "codevector_dim": 16},
        **{"proj_codevector_dim": 16, "diversity_loss_weight": 0.1, "ctc_loss_reduction": "sum", "ctc_zero_infinity": False},
        **{"use_weighted_layer_sum": False, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "add_adapter": False},
        **{"adapter_kernel_size": 3, "adapter_stride": 2, "num_adapter_layers": 2, "return_dict": False},
        **{"output_attentions": False, "output_hidden_states": False},
    }
    return positional(Wav2Vec2Model(Wav2Vec2ConfigPure(Config(layers | training | {f"{d}_dropout": 0.0 for d in dropouts}))), 1)
