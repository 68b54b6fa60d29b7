"""A small run of tools/fuzz_readers.py, and proof that it would see what it looks for."""

from __future__ import annotations

import os
import time

import pytest
import tiny

import fuzz_readers


def test_damaged_files_end_in_user_errors():
    counts, violations = fuzz_readers.run(300, seed=7)
    assert violations == []
    assert counts["error"] + counts["parsed"] == 300 and counts["parsed"] > 5


def test_mutants_are_the_same_every_time():
    seeds = fuzz_readers.seeds()
    assert [fuzz_readers.mutant(seeds, 3, i) for i in range(20)] == [fuzz_readers.mutant(seeds, 3, i) for i in range(20)]


FILES = {"model.json": tiny.pir_bytes(tiny.loop_model()), "model.pdiparams": tiny.tensor_bytes(tiny.WEIGHT)}


def test_the_seed_itself_parses(tmp_path):
    assert fuzz_readers.attempt(FILES, tmp_path / "model") == ("parsed", "")


@pytest.mark.parametrize(
    "fault", [lambda _: 1 / 0, lambda _: bytes(fuzz_readers.SLACK * 2), lambda _: (_ for _ in ()).throw(RecursionError)]
)
def test_faults_and_large_allocations_are_violations(tmp_path, monkeypatch, fault):
    monkeypatch.setattr(fuzz_readers, "load_model", fault)
    assert fuzz_readers.attempt(FILES, tmp_path / "model")[0] == "violation"


@pytest.mark.parametrize("fault", [lambda _: os.abort(), lambda _: time.sleep(60)])
def test_crashes_and_hangs_are_violations(monkeypatch, fault):
    monkeypatch.setattr(fuzz_readers, "load_model", fault)
    monkeypatch.setattr(fuzz_readers, "SECONDS", 0.5)
    counts, violations = fuzz_readers.run(2, workers=1)
    assert counts == {"violation": 2} and len(violations) == 2
