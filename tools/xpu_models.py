"""Compile the zoo's models for the emulated XPU, run them, compare them with Paddle; keep the results and write docs/xpu-models.md.

    python tools/xpu_models.py [--only REGEX] [--again failed|all] [--limit N] [--jobs N] [--minutes M] [--target xpu/r200]

Models are the recipes of zoo/ that match Paddle on the CPU (zoo/results.tsv), exported in the zoo's environments; where those are not made,
those whose packages this interpreter has (with Paddle alone: its vision models and those of zoo/nets).  One of each family comes after the
other, those that compile soonest first.  A model that has a result (benchmarks/results/xpu_models.jsonl) is not run again, unless --again
says so.  Each is exported and run in processes of its own; its files (build/xpu-models) go when it is done.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import numpy as np  # noqa: E402
from zoo.compare import TOLERANCE, source_of  # noqa: E402
from zoo.forked import Server, answer_in_child, serve  # noqa: E402
from zoo.recipe import Recipe  # noqa: E402
from zoo.recipes import all_recipes  # noqa: E402
from zoo.results import MATCH, Row  # noqa: E402
from zoo.results import load as load_on_cpu  # noqa: E402
from zoo.sweep import ENVIRONMENTS, exporter, one_thread  # noqa: E402

WORK = ROOT / "build" / "xpu-models"
RESULTS = ROOT / "benchmarks" / "results" / "xpu_models.jsonl"
PAGE = ROOT / "docs" / "xpu-models.md"
LIMIT_S = 400  # of CPU time


def measure(folder: Path, target: str) -> dict[str, Any]:
    """What runs where of an exported model, how far it is from Paddle, and what the emulator counted for the first run."""
    import oarlock
    from oarlock.checking.compare import compare
    from oarlock_xpu import device

    start = time.perf_counter()
    artifact = oarlock.compile(source_of(folder).get("model", str(folder)), target, records=False)
    row: dict[str, Any] = {"compile_s": round(time.perf_counter() - start, 1)} | places(artifact.manifest)
    worst, why = 0.0, ""
    with oarlock.Session(artifact) as session:
        known = {spec.name for spec in session.inputs}
        for number, run in enumerate(sorted(folder.glob("run-*.npz"))):
            with np.load(run) as archive:
                inputs = {n[3:]: archive[n] for n in archive.files if n.startswith("in:") and n[3:] in known}
                expected = [archive[n] for n in sorted(archive.files) if n.startswith("out:")]
            device.counters(reset=True)
            got = session.run(inputs)
            if number == 0:
                counted = device.counters(reset=True)["kernels"].values()
                row |= {
                    "launches": sum(k["launches"] for k in counted),
                    "modelled_us": round(sum(k["modelled_us"] for k in counted), 1),
                    "products": sum(k.get("macs", 0) for k in counted),
                }
            for (name, mine), theirs in zip(got.items(), expected, strict=True):
                report = compare(name, mine, theirs, TOLERANCE)
                worst = max(worst, report.max_rel)
                why = why or ("" if report.ok else f"{run.stem}, {name}: {report.why}")
    return row | {"verdict": "differs" if why else "match", "why": why, "max_rel": worst}


def places(manifest: dict[str, Any]) -> dict[str, Any]:
    """Operations of the model by where they run, and each fallback with its reason."""
    every = manifest.get("places", [])
    hosts = [place for place in every if place["where"] == "host"]
    sites = [site for function in manifest.get("calls", {}).values() for site in function]
    joined = {kernel: len(numbers) for kernel, numbers in sites}  # operations of the model that a kernel is for

    def operations(place: dict[str, Any]) -> int:
        """Of a library's call, those that it is listed with; else those of the kernel."""
        return place["what"].count(" + ") + 1 if place["where"] == "library" else max(joined.get(place["what"], 1), 1)

    count = sum(map(operations, every))
    return {
        "operations": count,
        "on_device": count - sum(map(operations, hosts)),
        "kernels": dict(Counter(p["where"] + (":loops" if p["how"] == "loops" else "") for p in every)),
        "host": [[p["what"], p["how"], p["crossing"]] for p in hosts],
        "library": sorted({p["how"] for p in every if p["where"] == "library"}),
    }


def answer(line: str) -> dict[str, Any]:
    """One question of the parent: a folder and a target."""
    folder, target = line.split("\t")

    def failed(error: BaseException) -> dict[str, Any]:
        return {"verdict": "failed", "why": f"{type(error).__name__}: {error}"[:500]}

    return answer_in_child(lambda: measure(Path(folder), target), failed, LIMIT_S, show=False)


class Worker:
    """Exports and runs one model after the other, in processes of its own."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.exporters: dict[tuple[str, str], Server | None] = {}  # one for each set of packages that do not go together
        self.running = self._server()

    def _server(self) -> Server:
        return Server([sys.executable, "-W", "ignore", __file__, "--serve"], one_thread(), ROOT)

    def export(self, recipe: Recipe) -> dict[str, Any]:
        """Facts or an error; ``missing`` where the packages are."""
        key = recipe.written, recipe.setup
        if key not in self.exporters:
            made = (ROOT / ENVIRONMENTS[recipe.written] / "bin/python").exists()
            python = None if made else Path(sys.executable)
            self.exporters[key] = exporter(recipe.written, WORK, python) if made or recipe.written == "pir" else None
        server = self.exporters[key]
        try:
            facts = server.ask(recipe.key) if server is not None else {"missing": True}
        except RuntimeError as error:  # it ended: it could not import them
            print(f"{recipe.key}: {error}; models of these packages are not run", flush=True)
            self.exporters[key], facts = None, {"missing": True}
        return {"missing": True} if "No module named" in str(facts.get("error", "")) else facts

    def row(self, recipe: Recipe) -> dict[str, Any] | None:
        """The result; none where the model's packages are missing."""
        facts = self.export(recipe)
        if "missing" in facts:
            return None
        if "error" in facts:
            row = {"verdict": "not exported", "why": str(facts["error"])[:300]}
        else:
            try:
                row = self.running.ask(f"{WORK / recipe.key}\t{self.target}")
            except RuntimeError as error:
                row, self.running = {"verdict": "failed", "why": str(error)[:300]}, self._server()
        return {"model": recipe.key, "family": recipe.family, "target": self.target, "dynamic": facts.get("dynamic", False), **row}


def order(recipes: list[Recipe], known: dict[str, Row]) -> list[Recipe]:
    """One of each family after the other; of a family, those first that are compiled soonest."""
    families = defaultdict(list)
    for recipe in sorted(recipes, key=lambda r: known[r.key].compile_s):
        families[recipe.family].append(recipe)
    return [r for _, _, r in sorted((place, family, r) for family, group in families.items() for place, r in enumerate(group))]


def load() -> dict[str, dict[str, Any]]:
    """The results so far by model; the last one of each counts."""
    lines = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
    return {row["model"]: row for row in map(json.loads, lines)}


def sweep(options: argparse.Namespace) -> int:
    """Run what has no result yet; the number of those that do not match."""
    rows, until = load(), time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    known = {key: row for key, row in load_on_cpu().items() if row.verdict == MATCH}
    again = {"": lambda row: False, "failed": lambda row: row["verdict"] != "match", "all": lambda row: True}[options.again]
    wanted = [r for r in all_recipes() if r.key in known and re.search(options.only, r.key) and (r.key not in rows or again(rows[r.key]))]
    todo = order(wanted, known)[: options.limit or None]
    WORK.mkdir(parents=True, exist_ok=True)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    left, lock, wrong = iter(enumerate(todo, 1)), threading.Lock(), []

    def work() -> None:
        worker = Worker(options.target)
        while time.monotonic() < until:
            with lock:
                number, recipe = next(left, (0, None))
            if recipe is None:
                return
            row = worker.row(recipe)
            shutil.rmtree(WORK / recipe.key, ignore_errors=True)
            if row is None:
                continue
            with lock:
                wrong.extend([row] if row["verdict"] != "match" else [])
                with RESULTS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                share = f"{row['on_device']} of {row['operations']} operations, " if "operations" in row else ""
                print(f"{number}/{len(todo)} {recipe.key}: {row['verdict']}, {share}{row.get('max_rel', 0):.1e} {row['why']}", flush=True)

    workers = [threading.Thread(target=work) for _ in range(options.jobs)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    write(load())
    return len(wrong)


def write(rows: dict[str, dict[str, Any]]) -> None:
    """docs/xpu-models.md from the results."""
    ran = sorted((r for r in rows.values() if "operations" in r), key=lambda r: r["model"])
    good = [r for r in ran if r["verdict"] == "match"]
    whole = [r for r in good if not r["host"]]
    wanted = sum(row.verdict == MATCH for row in load_on_cpu().values())
    of_run_time = {key for key, row in load_on_cpu().items() if row.control}
    lines = [
        "# Models on the emulated XPU",
        "",
        "Written by `make xpu-models` (tools/xpu_models.py) from benchmarks/results/xpu_models.jsonl. Times are *modelled*.",
        "",
        f"Of the {wanted} models of the zoo that match on the CPU, those of each family first that compile soonest: "
        f"{len(ran)} ran on an emulated chip, {len(good)} of them as Paddle has them (within {TOLERANCE} of the output's scale); "
        f"{len(whole)} of these run on the device wholly. Of those, {sum(r['dynamic'] for r in whole)} have dims that only a run tells, "
        f"{sum(r['model'] in of_run_time for r in whole)} have control flow.",
        "",
        "| model | dims of run time | control flow | operations on the device | library, generated, loops | launches | modelled | "
        "difference | fallbacks |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in ran:
        kinds = [str(r["kernels"].get(k, 0)) for k in ("library", "generated", "generated:loops")]
        fallbacks = "; ".join(f"{what}: {why}" for what, why, _ in r["host"])
        time_of = f"{r['modelled_us'] / 1000:.2f} ms" if "modelled_us" in r else ""
        difference = f"{r['max_rel']:.0e}" if r["verdict"] == "match" else f"**{r['verdict']}** {r['why'][:120]}"
        count = f"{r['on_device']} of {r['operations']}"
        kind = f"{'yes' if r['dynamic'] else ''} | {'yes' if r['model'] in of_run_time else ''}"
        lines.append(
            f"| {r['model']} | {kind} | {count} | {', '.join(kinds)} | {r.get('launches', '')} | {time_of} | {difference} | {fallbacks} |"
        )
    failed = [r for r in rows.values() if "operations" not in r]
    if failed:
        lines += ["", "Not run:", "", *(f"- {r['model']}: {r['verdict']}: {' '.join(r['why'].split())[:200]}" for r in failed)]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="models whose name has this regular expression")
    parser.add_argument("--again", default="", choices=["", "failed", "all"])
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=0, help="start no model after so long")
    parser.add_argument("--target", default="xpu/r200")
    parser.add_argument("--page", action="store_true", help="write the page only")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        import oarlock_xpu.target  # noqa: F401  before the forks

        serve(answer, sys.stdin)
    elif options.page:
        write(load())
    else:
        sys.exit(1 if sweep(options) else 0)


if __name__ == "__main__":
    main()
