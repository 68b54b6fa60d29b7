"""Forecasters and classifiers of PaddleTS, small."""

from __future__ import annotations

import importlib
from typing import Any

from . import compat
from .recipe import REDUCED, Input, Recipe

PACKAGE = "paddlets==1.1.0"


def setup() -> None:
    compat.without(
        *("visualdl", "pyod", "chinese_calendar", "shap", "statsmodels", "prophet", "patsy", "xlrd", "openpyxl", "seaborn", "sympy"),
        *("skopt", "graphviz", "ray", "optuna", "paddlets.automl", "paddlets.xai"),
    )
    compat.paddle_fluid()


def build(module: str, name: str, key: str, options: dict[str, Any]) -> Any:
    from .nets.wrappers import from_dict

    made = getattr(importlib.import_module(f"paddlets.models.{module}"), name)(**options)
    return from_dict(made, (key,)) if key else made


def recipes() -> list[Recipe]:
    window = {"in_chunk_len": 24, "out_chunk_len": 8, "target_dim": 1}

    def one(name: str, module: str, network: str, length: int = 24, series: int = 1, key: str = "past_target", **options: Any) -> Recipe:
        window = Input((None, length, series), (2, length, series))
        arguments = {"module": module, "name": network, "key": key, "options": options}
        return Recipe("timeseries", name, "timeseries:build", (window,), PACKAGE, REDUCED, arguments=arguments, setup="timeseries:setup")

    def forecast(name: str, module: str, network: str, **options: Any) -> Recipe:
        return one(name, f"forecasting.dl.{module}", network, **window, **options)

    beats = {
        **{"known_cov_dim": 0, "observed_cov_dim": 0, "num_stacks": 2, "num_blocks": [2, 2], "num_layers": 2, "layer_widths": [32, 32]},
        **{"expansion_coefficient_dim": 8, "trend_polynomial_degree": 2},
    }
    hits = {
        **{
            "known_cov_dim": 0,
            "observed_cov_dim": 0,
            "num_stacks": 2,
            "num_blocks": 1,
            "num_layers": 2,
            "layer_widths": [32, 32],
            "pooling_kernel_sizes": ((2,), (2,)),
        },
        **{"n_freq_downsample": ((2,), (1,)), "batch_norm": False, "dropout": 0.0, "activation": "ReLU", "MaxPool1d": True},
    }
    lst = {
        **{"skip_size": 4, "channels": 8, "kernel_size": 3, "rnn_cell_type": "GRU", "rnn_num_cells": 8, "skip_rnn_cell_type": "GRU"},
        **{"skip_rnn_num_cells": 4, "dropout_rate": 0.0},
    }
    encoder = {
        **{"input_dim": 1, "d_model": 16, "nhead": 4, "num_encoder_layers": 1, "num_decoder_layers": 1, "dim_feedforward": 32},
        **{"activation": "relu", "dropout_rate": 0.0},
    }
    chunk = {"in_chunk_dim": 24, "out_chunk_dim": 8, "target_dim": 1, "hidden_config": [32], "use_bn": False}
    return [
        forecast("NBEATS", "nbeats", "_NBEATSModule", generic_architecture=True, **beats),
        forecast("NBEATS_interpretable", "nbeats", "_NBEATSModule", generic_architecture=False, **beats),
        forecast("NHiTS", "nhits", "_NHiTSModule", **hits),
        forecast("TCN", "tcn", "_TCNModule", hidden_config=[16, 16], kernel_size=3, dropout_rate=0.0),
        forecast("LSTNet", "lstnet", "_LSTNetModule", **lst),
        forecast("Transformer", "transformer", "_TransformerModule", **encoder),
        one("MLP", "forecasting.dl.mlp", "_MLPModule", **chunk),
        one(
            *("SCINet", "forecasting.dl.scinet", "_StackedSCINetModule", 32),
            **{"in_chunk_len": 32, "out_chunk_len": 8, "in_dim": 1, "num_level": 2},
        ),
    ]
