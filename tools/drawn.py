"""Draw calls of the most used operators and compare Oarlock with Paddle on each; write docs/drawn.md when every operator has run.

    python tools/drawn.py [--examples 60] [--seed N] [--only REGEX] [--again] [--work build/drawn]

The strategies stand in tests/ops/drawn/.  The seed is printed: the same seed draws the same calls.  Results are kept in
WORK/results.json after each operator, so a stopped run goes on where it was; --again forgets the operators selected, and those that
failed are always run again.  A child process draws: a call that ends it, as Paddle's kernels can, costs its operator alone.
Exit status 1 when a result differs from Paddle's; the call, shrunk, is printed as a sample to paste, and kept in WORK/OPERATOR.txt.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests/ops/drawn"))
TIMEOUT_S = 1800


def draw_all(operator: str, examples: int, number: int, trace: Path) -> dict[str, Any]:
    """Draw ``examples`` calls of an operator; what Paddle refuses counts apart."""
    import hypothesis
    from drawing import Call, calls
    from families import STRATEGIES
    from trial import Refused, Tally, try_call

    assert operator in STRATEGIES, f"{operator} has no strategy"
    tally = Tally()

    @hypothesis.seed(number)
    @hypothesis.settings(
        max_examples=examples, deadline=None, database=None, print_blob=False, report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck), phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
    )
    @hypothesis.given(calls(operator))
    def test(call: Call) -> None:
        trace.write_text(repr(call))  # what a crash leaves behind
        try:
            try_call(call, tally)
        except Refused:
            hypothesis.reject()

    failure = ""
    try:
        test()
    except AssertionError as error:
        failure = str(error)
    return {"run": tally.run, "refused": dict(tally.refused), "failure": failure}


def child(operator: str, examples: int, number: int, trace: Path) -> None:
    print("RESULT " + json.dumps(draw_all(operator, examples, number, trace)), flush=True)


def run_child(operator: str, examples: int, number: int, work: Path) -> dict[str, Any]:
    trace = work / f"{operator}.txt"
    options = ["--examples", str(examples), "--seed", str(number), "--work", str(work)]
    command = [sys.executable, __file__, "--child", operator, *options]
    environment = os.environ | {"GLOG_minloglevel": "3", "OMP_NUM_THREADS": "1", "TVM_NUM_THREADS": "1"}
    start = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return {"run": 0, "refused": {}, "failure": f"no end within {TIMEOUT_S} s, at\n{trace.read_text()}", "seconds": TIMEOUT_S}
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), "")
    if not line:
        at = trace.read_text() if trace.exists() else ""
        last = "\n".join(done.stderr.strip().splitlines()[-6:])
        return {"run": 0, "refused": {}, "failure": f"the process ended ({done.returncode}), at\n{at}\n{last}", "seconds": 0}
    result = json.loads(line.removeprefix("RESULT "))
    trace.write_text(result["failure"] + "\n") if result["failure"] else trace.unlink(missing_ok=True)
    return result | {"seconds": round(time.monotonic() - start, 1)}


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
        child(options.child, options.examples, number, options.work / f"{options.child}.txt")
        return
    options.work.mkdir(parents=True, exist_ok=True)
    record = options.work / "results.json"
    results: dict[str, dict[str, Any]] = json.loads(record.read_text()) if record.exists() else {}
    chosen = [name for name in most_used() if not options.only or re.fullmatch(options.only, name)]
    todo = [name for name in chosen if options.again or name not in results or results[name]["failure"]]
    print(f"{len(todo)} operators, {options.examples} calls each, seed {number}", flush=True)
    for place, name in enumerate(todo, 1):
        result = run_child(name, options.examples, number, options.work)
        results[name] = result | {"examples": options.examples, "seed": number}
        record.write_text(json.dumps(results, indent=1))
        refused = sum(result["refused"].values())
        state = "FAILED" if result["failure"] else "ok"
        print(f"[{place}/{len(todo)}] {name}: {state}, {result['run']} run, {refused} refused, {result['seconds']} s", flush=True)
        if result["failure"]:
            print(result["failure"], flush=True)
    sys.exit(any(results[name]["failure"] for name in chosen if name in results))


if __name__ == "__main__":
    main()
