"""The most used operators on calls that hypothesis draws: a few each, always the same ones.  `make drawn` draws many."""

from __future__ import annotations

import hypothesis
import pytest

pytest.importorskip("paddle", reason="paddlepaddle is the oracle")

import drawing
import families
import numpy as np
import trial

EXAMPLES = 3


@pytest.mark.parametrize("operator", drawing.most_used())
def test_drawn_calls(operator: str) -> None:
    tally = trial.Tally()

    @hypothesis.settings(
        max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, print_blob=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(drawing.calls(operator))
    def draw(call: drawing.Call) -> None:
        try:
            trial.try_call(call, tally)
        except trial.Refused:
            hypothesis.reject()

    draw()
    # a strategy that Paddle refuses nearly always tests nothing
    assert tally.run >= EXAMPLES and tally.rejected <= 8 * tally.run, tally


def test_there_are_120_operators() -> None:
    assert len(drawing.most_used()) >= 120
    assert set(drawing.most_used()) == set(families.STRATEGIES)


def _call(code: str, tolerance: float = 0.0) -> drawing.Call:
    return drawing.Call("relu", code, {"x": drawing.Values("float32", (2, 3))}, tolerance=tolerance)


def test_a_difference_is_a_failure_with_a_call_to_paste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_oarlock", lambda call, model, arrays: [np.zeros([2, 3], "float32")])
    with pytest.raises(AssertionError, match="differs by") as failure:
        trial.try_call(_call("paddle.nn.functional.relu(x)"), trial.Tally())
    pasted = str(failure.value).split("Oarlock:")[0].partition("\n")[2]
    given: list[tuple] = []
    names = {"f32": drawing.base.f32, "sample": lambda operator, call, **inputs: given.append((operator, inputs["x"]))}
    exec(pasted, names)
    assert given[0][0] == "relu"
    assert np.array_equal(given[0][1], drawing.Values("float32", (2, 3)).array())


def test_another_operator_than_drawn_is_refused() -> None:
    tally = trial.Tally()
    with pytest.raises(trial.Refused, match="saved as tanh"):
        trial.try_call(_call("paddle.tanh(x)"), tally)
    assert tally.rejected == 1 and tally.run == 0


def test_a_mistake_of_a_strategy_is_no_refusal() -> None:
    with pytest.raises(AttributeError):
        trial.try_call(_call("paddle.nn.functional.rellu(x)"), trial.Tally())


@pytest.mark.parametrize(
    "got, want",
    [
        (np.zeros([2], "float32"), np.zeros([2], "float64")),
        (np.zeros([2], "float32"), np.zeros([1, 2], "float32")),
        (np.array([np.nan], "float32"), np.array([0.0], "float32")),
        (np.array([1.0], "float32"), np.array([np.inf], "float32")),
        (np.array([1], "int64"), np.array([2], "int64")),
        (np.array([1.0001], "float32"), np.array([1.0], "float32")),
    ],
)
def test_what_differs(got: np.ndarray, want: np.ndarray) -> None:
    assert trial.differs(got, want)
    assert not trial.differs(want, want)
