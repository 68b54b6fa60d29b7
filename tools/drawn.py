"""Draw calls of the most used operators and compare Oarlock with Paddle on each; write docs/drawn.md when every operator has run.

    python tools/drawn.py [--examples 60] [--seed N] [--only REGEX] [--again] [--work build/drawn]

The strategies stand in tests/ops/drawn/.  The seed is printed: the same seed draws the same calls.  Results are kept in
WORK/results.json after each operator, so a stopped run goes on where it was; operators that failed are run again, --again runs all that
are selected.  A child process draws: a call that ends it, as Paddle's kernels can, costs its operator alone.  Calls of one operator
count over all runs, until it fails.  Exit status 1 when a result differs from Paddle's; the call, shrunk, is printed as a sample to
paste, and kept in WORK/OPERATOR.txt.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests/ops/drawn"))
TIMEOUT_S = 1800  # of one operator


def draw_all(operator: str, examples: int, number: int, trace: Path) -> dict[str, Any]:
    """Draw ``examples`` calls of an operator that Paddle takes; those that it refuses count apart."""
    import hypothesis
    from drawing import Call, calls
    from trial import Refused, Tally, try_call

    tally = Tally()

    @hypothesis.seed(number)
    @hypothesis.settings(
        max_examples=examples, deadline=None, database=None, print_blob=False, report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck), phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
    )  # fmt: skip
    @hypothesis.given(calls(operator))
    def test(call: Call) -> None:
        trace.write_text(repr(call))  # what a crash leaves behind
        try:
            try_call(call, tally)
        except Refused:
            hypothesis.reject()

    start, failure = time.monotonic(), ""
    try:
        test()
    except AssertionError as error:
        failure = str(error)
    except hypothesis.errors.Unsatisfiable:
        failure = "no call that Paddle takes: " + "; ".join(tally.refused)
    except Exception as error:
        failure = f"{type(error).__name__}: {error}, at\n{trace.read_text()}"
    seconds = round(time.monotonic() - start, 1)
    return {"run": tally.run, "refused": dict(tally.refused), "failure": failure, "seconds": seconds}


def child(operators: list[str], examples: int, number: int, work: Path) -> None:
    import families

    assert set(operators) <= set(families.STRATEGIES), sorted(set(operators) - set(families.STRATEGIES))
    for name in operators:
        print(json.dumps({"result": draw_all(name, examples, number, work / f"{name}.txt")}), flush=True)


class Run:
    """One run over operators, with what earlier ones left in its folder."""

    def __init__(self, work: Path, examples: int, number: int) -> None:
        self.work, self.examples, self.number = work, examples, number
        work.mkdir(parents=True, exist_ok=True)
        self.record = work / "results.json"
        self.results: dict[str, dict[str, Any]] = json.loads(self.record.read_text()) if self.record.exists() else {}

    def all(self, operators: list[str]) -> None:
        done = 0
        while done < len(operators):
            for name, result in self._child(operators[done:]):
                done += 1
                self._keep(name, result)
                refused = sum(result["refused"].values())
                state = "FAILED" if result["failure"] else "ok"
                told = f"{result['run']} run, {refused} refused, {result['seconds']:.0f} s"
                print(f"[{done}/{len(operators)}] {name}: {state}, {told}", flush=True)
                if result["failure"]:
                    print(result["failure"], flush=True)

    def _child(self, operators: list[str]) -> Any:
        """Yield (operator, result) of each in turn, to the one that ends the process."""
        command = [sys.executable, __file__, "--child", ",".join(operators), "--examples", str(self.examples), "--seed", str(self.number)]
        environment = os.environ | {"GLOG_minloglevel": "3"}
        process = subprocess.Popen(
            [*command, "--work", str(self.work)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        assert process.stdout is not None
        finished, timer = 0, self._timer(process)
        for line in process.stdout:
            if line.startswith('{"result"'):
                timer.cancel()
                yield operators[finished], json.loads(line)["result"]
                finished, timer = finished + 1, self._timer(process)
        timer.cancel()
        process.wait()
        if finished < len(operators):
            name = operators[finished]
            trace = self.work / f"{name}.txt"
            at = trace.read_text() if trace.exists() else "its first call"
            yield name, {"run": 0, "refused": {}, "failure": f"the process ended ({process.returncode}), at\n{at}", "seconds": 0}

    def _timer(self, process: subprocess.Popen[str]) -> threading.Timer:
        timer = threading.Timer(TIMEOUT_S, process.kill)
        timer.daemon = True
        timer.start()
        return timer

    def _keep(self, name: str, result: dict[str, Any]) -> None:
        before = self.results.get(name)
        trace = self.work / f"{name}.txt"
        if result["failure"]:
            trace.write_text(result["failure"] + "\n")
        else:
            trace.unlink(missing_ok=True)
            if before and not before["failure"]:
                result["run"] += before["run"]
                result["refused"] = dict(Counter(before["refused"]) + Counter(result["refused"]))
        self.results[name] = result | {"seed": self.number}
        self.record.write_text(json.dumps(self.results, indent=1))


def write_page(results: dict[str, dict[str, Any]], models: dict[str, int]) -> None:
    """docs/drawn.md."""
    from oarlock.ops.samples import load_all

    found = [case for case in load_all() if case.call.__module__.endswith("samples.drawn")]
    shown = {name: results[name] for name in models}
    run, refused = (sum(count) for count in zip(*((r["run"], sum(r["refused"].values())) for r in shown.values()), strict=True))
    failed = [name for name, r in shown.items() if r["failure"]]
    rows = [
        f"| {name} | {models[name]} | {r['run']} | {sum(r['refused'].values())} | {'differs' if r['failure'] else ''} |"
        for name, r in shown.items()
    ]
    lines = [
        "# Drawn calls",
        "",
        "hypothesis draws calls of the most used operators — ranks, sizes (1, 0 and odd ones among them), types, attributes, which",
        "dims are unknown — and Oarlock's results are compared with Paddle's in shape, type and numbers. What Paddle refuses, or saves",
        "as another operator, counts apart. `make drawn` draws anew and writes this page. tests/ops/drawn/ has the strategies and, in",
        "most_used.tsv, the operators with the number of models that have them; `make test` draws a few calls of each, always the same.",
        "",
        f"{len(shown)} operators, {run} calls compared, {refused} refused by Paddle, {len(failed)} operators that differ. Of what these",
        f"draws found before, {len(found)} calls stand as samples in src/oarlock/ops/samples/drawn.py.",
        "",
        "| operator | models | compared | refused by Paddle | |",
        "|---|---|---|---|---|",
        *rows,
    ]
    (ROOT / "docs/drawn.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    from drawing import most_used

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--examples", type=int, default=60)
    parser.add_argument("--seed", type=int, default=None, help="by default another one each time")
    parser.add_argument("--only", default="", help="a regular expression of whole operator names")
    parser.add_argument("--again", action="store_true", help="run the selected operators even if they have results")
    parser.add_argument("--work", type=Path, default=ROOT / "build/drawn")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    number = int.from_bytes(os.urandom(3)) if options.seed is None else options.seed
    if options.child:
        child(options.child.split(","), options.examples, number, options.work)
        return
    run = Run(options.work, options.examples, number)
    chosen = [name for name in most_used() if not options.only or re.fullmatch(options.only, name)]
    todo = [name for name in chosen if options.again or name not in run.results or run.results[name]["failure"]]
    print(f"{len(todo)} operators, {options.examples} calls each, seed {number}", flush=True)
    run.all(todo)
    if set(run.results) >= set(most_used()) and not options.only:
        write_page(run.results, most_used())
    sys.exit(any(run.results[name]["failure"] for name in chosen if name in run.results))


if __name__ == "__main__":
    main()
