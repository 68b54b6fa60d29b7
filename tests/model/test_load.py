"""Finding a model's files and telling their format."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest
import tiny

from oarlock.errors import InputError, ModelError
from oarlock.model import load_model

PIR = tiny.pir_bytes(tiny.loop_model())
LEGACY = tiny.legacy_model()
WEIGHTS = tiny.tensor_bytes(tiny.WEIGHT)


@pytest.fixture
def folder(tmp_path):
    def write(**files: bytes):
        for name, content in files.items():
            (tmp_path / name.replace("__dot__", ".")).write_bytes(content)
        return tmp_path

    return write


def check(program, form: str):
    assert program.source["format"] == form
    np.testing.assert_array_equal(program.parameters["w"].data, tiny.WEIGHT)
    return program


def test_pir_from_a_folder_a_file_a_stem_and_bytes(folder):
    path = folder(inference__dot__json=PIR, inference__dot__pdiparams=WEIGHTS)
    for source in (path, str(path), path / "inference.json", path / "inference"):
        program = check(load_model(source), "pir")
        assert program.source["path"].endswith("inference.json") and program.source["params_size"] == len(WEIGHTS)
    check(load_model(PIR, params=WEIGHTS), "pir")
    assert program.parameters["state"].data is None  # declared, but not persistable: it is not stored


def test_legacy_from_a_folder_a_file_and_bytes(folder):
    path = folder(model__dot__pdmodel=LEGACY, model__dot__pdiparams=WEIGHTS)
    for source in (path, path / "model.pdmodel", path / "model"):
        check(load_model(source), "legacy")
    check(load_model(memoryview(LEGACY), params=WEIGHTS), "legacy")


def test_the_oldest_layouts(folder, tmp_path):
    check(load_model(folder(__model__=LEGACY, w=WEIGHTS)), "legacy")
    (tmp_path / "w").unlink()
    check(load_model(folder(__params__=WEIGHTS)), "legacy")
    check(load_model(tmp_path / "__model__"), "legacy")


def test_the_content_says_the_format(folder):
    path = folder(model__dot__pdmodel=PIR, model__dot__pdiparams=WEIGHTS)
    check(load_model(path), "pir")
    with pytest.raises(ModelError, match="pickle"):
        load_model(pickle.dumps({"a": 1}, protocol=4))


@pytest.mark.parametrize("content", [b"#!/bin/sh", b"[1, 2]", b"\x89PNG\r\n", b"<html>"])
def test_files_of_other_kinds_are_called_so(content):
    with pytest.raises(ModelError, match="no Paddle program"):
        load_model(content)


def test_other_json_files_are_not_programs(folder):
    path = folder(config__dot__json=b'{"a": 1}', odd_name__dot__json=PIR, odd_name__dot__pdiparams=WEIGHTS)
    check(load_model(path), "pir")


def test_inference_comes_before_other_names(folder):
    path = folder(inference__dot__json=PIR, inference__dot__pdiparams=WEIGHTS, other__dot__pdmodel=LEGACY)
    assert load_model(path).source["path"].endswith("inference.json")


def test_several_programs_are_listed(folder):
    path = folder(a__dot__json=PIR, b__dot__pdmodel=LEGACY)
    with pytest.raises(ModelError, match=r"a\.json, b\.pdmodel"):
        load_model(path)


@pytest.mark.parametrize("files", [{}, {"readme": b"x"}, {"config__dot__json": b"{}"}])
def test_a_folder_without_a_program(folder, files):
    with pytest.raises(ModelError, match="no Paddle program"):
        load_model(folder(**files))


def test_missing_weights_name_the_path(folder, tmp_path):
    with pytest.raises(ModelError, match="weights are missing") as caught:
        load_model(folder(model__dot__json=PIR))
    assert caught.value.where == str(tmp_path / "model.pdiparams")
    with pytest.raises(ModelError, match="no weights were given"):
        load_model(PIR)


@pytest.mark.parametrize("source", ["", "nowhere", "nowhere/model.json", "\0"])
def test_what_is_not_there(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError):
        load_model(source)


def test_wrong_arguments():
    with pytest.raises(InputError):
        load_model(7)
    with pytest.raises(InputError):
        load_model("somewhere", params=b"")


@pytest.mark.parametrize("content", [b"", b"   ", b"\0" * 100, b"PK\3\4", b"hello"])
def test_files_that_are_no_programs(folder, content):
    with pytest.raises(ModelError):
        load_model(folder(model__dot__pdmodel=content))


def test_the_weights_file_is_not_the_program(folder, tmp_path):
    folder(model__dot__pdiparams=WEIGHTS)
    with pytest.raises(ModelError, match="holds weights"):
        load_model(tmp_path / "model.pdiparams")


def test_links_out_of_the_folder(tmp_path):
    """A link from the weights alone to elsewhere is refused; a cache whose files are all links is not."""
    blobs, model = tmp_path / "blobs", tmp_path / "model"
    blobs.mkdir()
    model.mkdir()
    (blobs / "1").write_bytes(PIR)
    (blobs / "2").write_bytes(WEIGHTS)
    (model / "model.pdiparams").symlink_to(blobs / "2")
    (model / "model.json").symlink_to(blobs / "1")
    check(load_model(model), "pir")
    (model / "model.json").unlink()
    shutil.copy(blobs / "1", model / "model.json")
    with pytest.raises(ModelError, match="outside"):
        load_model(model)


def test_a_parameter_name_cannot_leave_the_folder(tmp_path):
    (tmp_path / "secret").write_bytes(WEIGHTS)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "__model__").write_bytes(tiny.legacy_model("../secret"))
    with pytest.raises(ModelError, match="outside"):
        load_model(tmp_path / "model")
