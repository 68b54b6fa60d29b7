"""Every registered operator has a sample (compared with Paddle) or a test against numpy."""

from __future__ import annotations

import re
from pathlib import Path

from oarlock.importer.importer import CONTROL
from oarlock.ops.registry import registered
from oarlock.ops.samples import load_all

# operator → why it has neither
EXCEPTIONS = {
    "assign_array": "Paddle's own API never writes it into a program, and a tensor array is no input of one; it hands its operand on",
}


def _sampled() -> set[str]:
    return {case.operator for case in load_all()}


def _with_reference() -> set[str]:
    """The operators that the files test_without_oracle*.py name in quotes."""
    files = Path(__file__).parent.glob("test_without_oracle*.py")
    return {name for file in files for name in re.findall(r'"([a-z]\w+)"', file.read_text())}


def test_every_operator_is_tested() -> None:
    built_in = {name for name, spec in registered().items() if not spec.user}
    untested = built_in - _sampled() - _with_reference()
    assert sorted(untested) == sorted(EXCEPTIONS)


def test_samples_name_operators() -> None:
    control = {name.split(".")[1] for name in CONTROL}
    assert not _sampled() - set(registered()) - control
