"""Build the acceptance cases beside the checkout (../shared/cases) for the web and run them in Node: how many give Paddle's numbers.

    python tools/run_cases_web.py [--suite control,api] [--dynamic] [--every N] [--jobs 2] [--variant simd128] [--work build/cases-web]

Each case is built and run in a process of its own.  Results are kept in WORK/results.json: a stopped run goes on where it was; delete
the file to start anew.  Exit status 1 when a case crashed or did not match for a reason that is not in tools/run_cases.py's EXPLAINED.
"""

from __future__ import annotations

import argparse
import base64
import json
import multiprocessing
import subprocess
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from run_cases import ROOT, SHARED, all_cases, cases_module, kind  # noqa: E402

NODE = ROOT / "web/run.mjs"


def load(folder: str, variant: str) -> str:
    from oarlock.targets.web.site import build_site

    build_site(folder, f"{folder}/site", variants=[variant])
    return f"{folder}/site"


def run(site: str, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What the model gives in Node, in the order of its outputs."""
    with tempfile.TemporaryDirectory() as folder:
        tensors = {}
        for n, (name, array) in enumerate(inputs.items()):
            (Path(folder) / f"{n}.bin").write_bytes(np.ascontiguousarray(array).tobytes())
            tensors[name] = {"dtype": str(array.dtype), "shape": list(array.shape), "file": f"{n}.bin"}
        (Path(folder) / "sets.json").write_text(json.dumps([tensors]))
        done = subprocess.run(["node", str(NODE), site, "", folder], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"Node: {done.stderr.strip()[-300:]}")
    (result,) = json.loads(done.stdout)
    if "error" in result:
        raise RuntimeError(result["error"])
    return [np.frombuffer(base64.b64decode(t["data"]), t["dtype"]).reshape(t["shape"]) for t in result["outputs"].values()]


def attempt(key: tuple[str, str], variant: str) -> dict[str, Any]:
    """One case → its state (match, differ, import, run) and why."""
    cases = cases_module()
    (case,) = (c for c in all_cases(cases) if (c.suite, c.id) == key)
    case.fetch()
    state, why = cases.isolated(lambda: cases.attempt(case, partial(load, variant=variant), run, 1.0), 300)
    row = {"suite": case.suite, "id": case.id, "state": state, "why": " ".join(why.split()), "nonunique": bool(case.meta.get("nonunique"))}
    case.release()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--suite", default="control", help="these suites, separated by commas; all: every one")
    parser.add_argument("--dynamic", action="store_true", help="only cases with dynamic dims")
    parser.add_argument("--every", type=int, default=1, help="only every N-th case")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--variant", default="simd128")
    parser.add_argument("--work", type=Path, default=ROOT / "build/cases-web")
    options = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit("the acceptance cases (../shared/cases) are not there")
    options.work.mkdir(parents=True, exist_ok=True)
    record = options.work / "results.json"
    done: dict[str, dict[str, Any]] = json.loads(record.read_text()) if record.exists() else {}
    cases = all_cases(cases_module())
    wanted = [c for c in cases if options.suite == "all" or c.suite in options.suite.split(",")]
    every = [c for c in wanted if c.meta["dynamic"] or not options.dynamic][:: options.every]
    left = [(c.suite, c.id) for c in every if f"{c.suite}/{c.id}" not in done]
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for number, row in enumerate(pool.imap_unordered(partial(attempt, variant=options.variant), left), 1):
            done[f"{row['suite']}/{row['id']}"] = row
            if row["state"] != "match":
                print(f"{row['suite']}/{row['id']}: {kind(row)}: {row['why'][:240]}", flush=True)
            if number % 20 == 0 or number == len(left):
                record.write_text(json.dumps(done, indent=0))
                print(f"[{number}/{len(left)}]", flush=True)
    count = Counter((c.suite, kind(done[f"{c.suite}/{c.id}"])) for c in every)
    for suite in dict.fromkeys(c.suite for c in every):
        print(f"{suite}: {', '.join(f'{n} {what}' for (s, what), n in count.most_common() if s == suite)}")
    sys.exit(any(what in ("wrong", "crashed") for _, what in count))


if __name__ == "__main__":
    main()
