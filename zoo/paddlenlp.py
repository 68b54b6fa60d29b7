"""Language models of PaddleNLP, two narrow layers each: the graphs are those of the published checkpoints."""

from __future__ import annotations

import inspect
from typing import Any

from . import compat
from .recipe import OWN, REDUCED, Input, Recipe, image, numbers, tokens

PACKAGE = "paddlenlp==2.8.1"

_HIDDEN = "hidden_size d_model n_embd emb_dim embed_dim"
_LAYERS = "num_hidden_layers num_layers n_layer n_layers num_encoder_layers num_decoder_layers encoder_layers decoder_layers"
_HEADS = (
    "num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads num_encoder_attention_heads "
    "num_decoder_attention_heads"
)
_INNER = "intermediate_size ffn_dim dim_feedforward d_ff d_inner encoder_ffn_dim decoder_ffn_dim dff"
# what configurations call the sizes that are reduced
_SMALL: dict[str, Any] = {
    **dict.fromkeys(_HIDDEN.split(), 64),
    **dict.fromkeys(_LAYERS.split(), 2),
    **dict.fromkeys(_HEADS.split(), 4),
    **dict.fromkeys(_INNER.split(), 128),
    **dict.fromkeys("d_kv d_head head_dim".split(), 16),
    **dict.fromkeys("max_position_embeddings n_positions seq_length".split(), 64),
    **dict.fromkeys("hidden_dropout_prob attention_probs_dropout_prob dropout".split(), 0.0),
    **{"vocab_size": 1000, "embedding_size": 32, "type_vocab_size": 4, "num_labels": 5},
}


def setup() -> None:
    compat.without_paddlenlp_extras()
    import paddlenlp.transformers  # noqa: F401


def config(name: str, **options: Any) -> Any:
    """A configuration of small sizes, as far as it knows them, and the options."""
    import paddlenlp.transformers as transformers

    cls = getattr(transformers, name)
    known = inspect.signature(cls.__init__).parameters
    return cls(**{n: v for n, v in _SMALL.items() if n in known} | options)


def build(model: str, configuration: str, names: tuple[str, ...], options: dict[str, Any]) -> Any:
    import paddlenlp.transformers as transformers

    from .nets.wrappers import named

    made = getattr(transformers, model)(config(configuration, **options))
    made.eval()
    return named(made, names)


def build_clip() -> Any:
    import paddlenlp.transformers as transformers

    from .nets.wrappers import named

    whole = transformers.CLIPConfig(text_config=_SMALL | {"projection_dim": 32}, vision_config=VISION, projection_dim=32)
    return named(transformers.CLIPModel(whole), ("input_ids", "pixel_values"))


def build_greedy_gpt() -> Any:
    import paddlenlp.transformers as transformers

    return transformers.GPTForGreedyGeneration(config("GPTConfig"), max_predict_len=6)


def build_generation(model: str, configuration: str, options: dict[str, Any]) -> Any:
    import paddlenlp.transformers as transformers

    from .nets.nlp import Generation

    return Generation(getattr(transformers, model)(config(configuration, **options)))


_SEQ2SEQ: dict[str, Any] = {
    **{"src_vocab_size": 300, "trg_vocab_size": 300, "max_length": 20, "num_encoder_layers": 2, "num_decoder_layers": 2, "n_head": 4},
    **{"d_model": 64, "d_inner_hid": 128, "dropout": 0.0, "weight_sharing": False, "bos_id": 0, "eos_id": 1},
}


def build_transformer(beam: int = 0) -> Any:
    import paddlenlp.transformers as transformers

    if beam:
        return transformers.InferTransformerModel(**_SEQ2SEQ, beam_size=beam, max_out_len=8)
    return transformers.TransformerModel(**_SEQ2SEQ)


def build_senta(encoder: str, options: dict[str, Any], width: int) -> Any:
    import paddlenlp.seq2vec as encoders

    from .nets.nlp import TextClassifier

    lengths = encoder in ("LSTMEncoder", "GRUEncoder", "RNNEncoder")
    return TextClassifier(getattr(encoders, encoder)(**options), width, lengths)


_INPUTS = {
    "token_type_ids": tokens(2, name="token_type_ids"),
    "attention_mask": Input((None, None), (2, 16), "int64", "ones", "attention_mask"),
    "position_ids": Input((None, None), (2, 16), "int64", ("arange",), "position_ids"),
    "decoder_input_ids": tokens(999, 12, low=3, name="decoder_input_ids"),
    "pixel_values": image(64),
}


def _recipe(
    name: str,
    configuration: str,
    model: str = "",
    names: str = "input_ids",
    inputs: tuple[Input, ...] = (),
    family: str = "nlp",
    slides: tuple[str, ...] = (),
    **options: Any,
) -> Recipe:
    """``names``: the keywords of the inputs; ``options``: of the configuration."""
    keys = tuple(names.split())
    given = inputs or tuple(_INPUTS.get(k, tokens(999, low=3, name=k)) for k in keys)
    arguments = {"model": model or name, "configuration": configuration, "names": keys, "options": options}
    return Recipe(family, name, "paddlenlp:build", given, PACKAGE, REDUCED, arguments=arguments, setup="paddlenlp:setup", slides=slides)


def recipes() -> list[Recipe]:
    return _encoders() + _decoders() + _special() + _loops() + _text_classifiers()


# prefix → (the heads, of one letter each, inputs with token types, options)
_HEAD_NAMES = {
    "M": "Model",
    "S": "ForSequenceClassification",
    "T": "ForTokenClassification",
    "Q": "ForQuestionAnswering",
    "L": "ForMaskedLM",
}
_ENCODERS: dict[str, tuple[str, bool, dict[str, Any]]] = {
    "Bert": ("MSTQL", True, {}),
    "Ernie": ("MSTQL", True, {"task_type_vocab_size": 3, "use_task_id": False}),
    "Roberta": ("MSQL", True, {}),
    "Electra": ("MSTQL", True, {}),
    "Albert": ("MSTQL", True, {"embedding_size": 32}),
    "DistilBert": ("MSQ", False, {}),
    "TinyBert": ("MS", True, {}),
    "MobileBert": ("MS", True, {"embedding_size": 32, "intra_bottleneck_size": 32, "true_hidden_size": 32}),
    "NeZha": ("MS", True, {"use_relative_position": True}),
    "ErnieGram": ("MS", True, {"embedding_size": 64}),
    "RoFormer": ("MS", True, {}),
    "RoFormerv2": ("MS", True, {}),
    "GAUAlpha": ("MS", True, {}),
    "ConvBert": ("MS", True, {"embedding_size": 32}),
    "SqueezeBert": ("MS", True, {"embedding_size": 64}),
    "MPNet": ("MS", False, {}),
    "Deberta": ("M", False, {"pooler_hidden_size": 64}),
    "DebertaV2": ("MS", False, {}),
    "FNet": ("MS", True, {}),
    "MegatronBert": ("MS", True, {}),
    "Nystromformer": ("MS", True, {"num_landmarks": 8, "segment_means_seq_len": 16, "max_position_embeddings": 62}),
    "Skep": ("MST", True, {}),
    "ErnieM": ("MS", False, {}),
    "XLNet": ("MS", False, {}),
    "XLM": ("MS", False, {}),
    "Funnel": ("S", True, {}),
    "ErnieCtm": ("M", True, {"embedding_size": 32}),
    "CTRL": ("M", False, {}),
}
_SLIDES = {"BertModel": "BERT", "ErnieModel": "ERNIE", "XLNetModel": "XLNet"}


def _encoders() -> list[Recipe]:
    out = []
    for prefix, (heads, types, options) in _ENCODERS.items():
        for head in heads:
            name = prefix + _HEAD_NAMES[head]
            names = "input_ids token_type_ids" if types else "input_ids"
            slides = (_SLIDES[name],) if name in _SLIDES else ()
            out.append(_recipe(name, f"{prefix}Config", names=names, slides=slides, **options))
    return out


def _decoders() -> list[Recipe]:
    groups = {"num_key_value_heads": 2}
    causal = [
        _recipe("GPTModel", "GPTConfig"),
        _recipe("GPTForCausalLM", "GPTConfig", names="input_ids position_ids"),
        _recipe("GPTForSequenceClassification", "GPTConfig", eos_token_id=7),
        _recipe("CodeGenForCausalLM", "CodeGenConfig", rotary_dim=8, n_ctx=64),
        _recipe("BloomForCausalLM", "BloomConfig", names="input_ids attention_mask"),
        _recipe("LlamaForCausalLM", "LlamaConfig", names="input_ids position_ids", use_flash_attention=False, **groups),
        _recipe("LlamaModel", "LlamaConfig", names="input_ids attention_mask"),
        _recipe("QWenForCausalLM", "QWenConfig", kv_channels=16, seq_length=64),
        _recipe(
            "ChatGLMv2ForCausalLM",
            "ChatGLMv2Config",
            **{"padded_vocab_size": 1000, "ffn_hidden_size": 128, "kv_channels": 16, "multi_query_group_num": 2},
        ),
        _recipe("RWForCausalLM_falcon", "RWConfig", "RWForCausalLM"),
        _recipe("XLNetLMHeadModel", "XLNetConfig"),
    ]
    pair = "input_ids decoder_input_ids"
    both = [
        _recipe(f"{p}ForConditionalGeneration", f"{p}Config", names=pair, max_encoder_position_embeddings=64)
        for p in ("Bart", "MBart", "Pegasus", "Blenderbot", "BlenderbotSmall")
    ] + [
        _recipe("T5ForConditionalGeneration", "T5Config", names=pair),
        _recipe("MT5ForConditionalGeneration", "MT5Config", names=pair),
        _recipe("T5EncoderModel", "T5Config", use_cache=False),
        _recipe("ProphetNet", "ProphetNetConfig", "ProphetNetForConditionalGeneration", names=pair),
    ]
    return causal + both


def _special() -> list[Recipe]:
    """Inputs other than token ids and types."""
    mask = Input((None, 1, None, None), (2, 1, 16, 16), "float32", "zeros", "attention_mask")
    lm = "input_ids token_type_ids position_ids attention_mask"
    lm_inputs = (tokens(999, low=3, name="input_ids"), _INPUTS["token_type_ids"], _INPUTS["position_ids"], mask)
    choices = (
        Input((None, 4, None), (1, 4, 12), "int64", ("int", 3, 999), "input_ids"),
        Input((None, 4, None), (1, 4, 12), "int64", ("int", 0, 2), "token_type_ids"),
    )
    boxes = Input((None, None, 4), (2, 16, 4), "int64", "nets.values:sorted_boxes", "bbox")
    tasks = Input((None, None), (2, 16), "int64", ("int", 0, 3), "task_type_ids")
    whole = Input((None, 1, None, None), (2, 1, 16, 16), "int64", "ones", "attention_mask")
    double = Input((None, 2, None), (2, 2, 16), "int64", ("int", 0, 16), "position_ids")
    five = "input_ids token_type_ids position_ids attention_mask task_type_ids"
    first = tokens(999, low=3, name="input_ids")
    return [
        _recipe(
            "ErnieModel_task_id",
            "ErnieConfig",
            "ErnieModel",
            five,
            (first, _INPUTS["token_type_ids"], _INPUTS["position_ids"], _INPUTS["attention_mask"], tasks),
            **{"use_task_id": True, "task_type_vocab_size": 3},
        ),
        _recipe("UIE", "ErnieConfig", names="input_ids token_type_ids"),
        _recipe("ErnieForMultipleChoice", "ErnieConfig", names="input_ids token_type_ids", inputs=choices),
        _recipe(
            "LayoutLMModel",
            "LayoutLMConfig",
            names="input_ids bbox token_type_ids",
            inputs=(first, boxes, _INPUTS["token_type_ids"]),
            max_2d_position_embeddings=64,
        ),
        _recipe("UNIMOLMHeadModel", "UNIMOConfig", names=lm, inputs=lm_inputs),
        _recipe("UnifiedTransformerLMHeadModel", "UnifiedTransformerConfig", names=lm, inputs=lm_inputs),
        _recipe(
            "GLMModel",
            "GLMConfig",
            names="input_ids position_ids attention_mask",
            inputs=(first, double, whole),
            **{"output_predict": True, "max_sequence_length": 64},
        ),
    ]


def _loops() -> list[Recipe]:
    """Translation with a beam search, and loops that generate text."""
    source, target = tokens(299, 10, low=2, name="src_word"), tokens(299, 9, low=2, name="trg_word")
    one = (tokens(999, low=3, batch=1, name="input_ids"),)

    def more(name: str, build: str, inputs: tuple[Input, ...], slides: tuple[str, ...] = (), **arguments: Any) -> Recipe:
        family = "nlp" if slides else "nlp_decode"
        made = f"paddlenlp:{build}"
        return Recipe(family, name, made, inputs, PACKAGE, REDUCED, arguments=arguments, setup="paddlenlp:setup", slides=slides)

    return [
        more("Transformer_base", "build_transformer", (source, target), ("Transformer",)),
        more("Transformer_beam_search", "build_transformer", (source,), beam=3),
        more("GPTForGreedyGeneration", "build_greedy_gpt", (tokens(999, low=3, name="input_ids"),)),
        *(
            more(f"{p}_generate_greedy", "build_generation", one, model=f"{p}ForCausalLM", configuration=f"{p}Config", options=options)
            for p, options in (("GPT", {}), ("OPT", {"word_embed_proj_dim": 64}), ("Llama", {}))
        ),
    ]


def _text_classifiers() -> list[Recipe]:
    """Senta's and EmoTect's nets on the package's encoders, and LAC's."""
    text, lengths = tokens(499, 12, 3, low=1, name="text"), numbers(12, 9, 5)

    def senta(name: str, encoder: str, width: int, inputs: tuple[Input, ...], slides: tuple[str, ...] = (), **options: Any) -> Recipe:
        arguments = {"encoder": encoder, "options": options, "width": width}
        return Recipe(
            *("nlp_rnn", name, "paddlenlp:build_senta", inputs, PACKAGE, REDUCED),
            arguments=arguments,
            setup="paddlenlp:setup",
            slides=slides,
        )

    recurrent = [
        recipe
        for n in ("LSTM", "GRU", "RNN")
        for recipe in (
            senta(
                *(f"Senta_{n}", f"{n}Encoder", 32, (text, lengths), ("EmoTect",) if n == "GRU" else ()),
                **{"input_size": 32, "hidden_size": 32, "num_layers": 1, "direction": "forward", "pooling_type": "max"},
            ),
            senta(
                *(f"Senta_Bi{n}", f"{n}Encoder", 64, (text, lengths), ("Senta",) if n == "LSTM" else ()),
                **{"input_size": 32, "hidden_size": 32, "num_layers": 2, "direction": "bidirect", "pooling_type": "mean"},
            ),
        )
    ]
    return [
        senta("Senta_BoW", "BoWEncoder", 32, (text,), emb_dim=32),
        senta("Senta_CNN", "CNNEncoder", 64, (text,), emb_dim=32, num_filter=16),
        senta("Senta_TCN", "TCNEncoder", 32, (text,), input_size=32, num_channels=[32, 32]),
        *recurrent,
        Recipe("nlp_rnn", "LAC_BiGRU_CRF", "nets.nlp:Tagger", (text, lengths), "paddle.text 3.3.1", OWN),
    ]


# ---- pictures and text
VISION: dict[str, Any] = {
    **{"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
    **{"image_size": 64, "patch_size": 16, "projection_dim": 32},
}
