"""Export every model of the zoo, compile it, compare it with Paddle; keep the results and write docs/models.md.

    python -m zoo.sweep [--family F,…] [--only REGEX] [--again failed|stale|all] [--jobs N] [--limit N] [--breadth N] [--keep] [--minutes M]

A model that has a result (zoo/results.tsv) is not run again, unless --again says so: "failed" those that did not match, "stale" those whose
recipe has changed, "all" all.  Each model is exported and compared in processes of its own; its files (build/zoo) go when it is done.
Exit status 1 when a model that was run did not match.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

from . import results, table
from .forked import WAIT_S, Server
from .recipe import Recipe
from .recipes import all_recipes
from .results import DIFFERS, FAILED, NOT_EXPORTED, REFUSED, ROUNDING, Row

ROOT = Path(__file__).parents[1]
# environments that have the models' packages and the Paddle that writes the files
ENVIRONMENTS = {"pir": ".venv-zoo", "legacy": ".venv-zoo", "legacy-2.6": ".venv-zoo26"}


def exporter(written: str, work: Path, python: Path | None = None) -> Server:
    """A process of ``zoo.export`` for recipes of one environment and setup; ``python``: the interpreter, where it is another one."""
    python = python or ROOT / ENVIRONMENTS[written] / "bin/python"
    if not python.exists():
        sys.exit(f"{python.relative_to(ROOT)} is not there: make it with `make {ENVIRONMENTS[written]}/.ready`")
    environment = one_thread() | ({"FLAGS_enable_pir_api": "0"} if written != "pir" else {})
    return Server([str(python), "-W", "ignore", "-m", "zoo.export", str(work)], environment, ROOT)


def comparer() -> Server:
    return Server([sys.executable, "-m", "zoo.compare"], one_thread(), ROOT)


def one_thread() -> dict[str, str]:
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TVM_NUM_THREADS")
    return os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "CUDA_VISIBLE_DEVICES": ""} | dict.fromkeys(threads, "1")


def run_one(recipe: Recipe, exporting: Server, comparing: Server, work: Path, keep: bool) -> Row:
    """Export, compare, explain; the row."""
    folder = work / recipe.key
    row = Row(recipe.family, recipe.name, FAILED, recipe=recipe.digest)
    facts = exporting.ask(recipe.key)
    if "error" in facts:
        row.verdict, row.why = NOT_EXPORTED, _clean(facts["error"])
        return row
    row.export_s, row.dynamic, row.paddle = facts["export_s"], facts["dynamic"], facts["paddle"]
    row.runs = "; ".join(", ".join("×".join(map(str, shape)) or "1" for shape in run) for run in facts["runs"])
    answer = comparing.ask(str(folder))
    for name, value in answer.items():
        setattr(row, name, value)
    row.why = _clean(row.why)
    if row.verdict == DIFFERS and any(folder.glob("ours-*.npz")):
        judged = _child([str(ROOT / ENVIRONMENTS[recipe.written] / "bin/python"), "-W", "ignore", "-m", "zoo.perturb", str(folder)])
        if judged.get("rounding"):
            row.verdict = ROUNDING
            row.why = f"{judged['said']} when weights and inputs are rounded otherwise ({row.why})"
        elif "said" in judged:
            row.why += f"; {judged['said']} when weights and inputs are rounded otherwise"
    if not keep and row.good:
        shutil.rmtree(folder, ignore_errors=True)
    return row


def _child(command: list[str]) -> dict[str, Any]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False, env=one_thread(), cwd=ROOT)
    except subprocess.TimeoutExpired:
        return {"verdict": FAILED, "why": f"not finished within {WAIT_S} s"}
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"verdict": FAILED, "why": f"exit status {done.returncode}: {last}"}
    return json.loads(lines[-1])


def _clean(why: str) -> str:
    """One line, without the paths of this machine."""
    return re.sub(r"(/[\w.+-]+){2,}/", "…/", " ".join(why.split())).replace("\t", " ")[:500]


def select(recipes: list[Recipe], rows: dict[str, Row], options: argparse.Namespace) -> list[Recipe]:
    """What is to be run, in order; models of one family stay together, since they share an exporter."""
    families = set(options.family.split(",")) if options.family else None
    out = []
    for recipe in recipes:
        row = rows.get(recipe.key)
        if families and recipe.family not in families or not re.search(options.only, recipe.key):
            continue
        wanted = {
            "": row is None,
            "failed": row is None or not row.good,
            "stale": row is None or row.recipe != recipe.digest,
            "all": True,
        }[options.again]
        if wanted:
            out.append(recipe)
    if options.breadth:
        have = Counter(r.family for r in recipes if r.key in rows and r not in out)
        chosen = []
        for recipe in out:
            have[recipe.family] += 1
            if have[recipe.family] <= options.breadth:
                chosen.append(recipe)
        out = chosen
    return out[: options.limit] if options.limit else out


def sweep(todo: list[Recipe], every: list[Recipe], options: argparse.Namespace) -> list[Row]:
    """Run them on ``jobs`` workers; each result is saved as it comes."""
    groups: dict[tuple[str, str, str], deque[Recipe]] = {}
    for recipe in todo:
        groups.setdefault((recipe.written, recipe.setup, recipe.family), deque()).append(recipe)
    left = [(written, group) for (written, _, _), group in groups.items()]
    taken: list[tuple[str, deque[Recipe]]] = []
    lock, start, done = threading.Lock(), time.monotonic(), []
    until = start + 60 * options.minutes if options.minutes else float("inf")

    def take() -> tuple[str, deque[Recipe]] | None:
        """The next group; where all are taken, the one with the most left, to help with it."""
        with lock:
            if left:
                taken.append(left.pop(0))
                return taken[-1]
            longest = max(taken, key=lambda group: len(group[1]), default=None)
            return longest if longest is not None and len(longest[1]) > 1 else None

    def work() -> None:
        while (found := take()) is not None:
            written, group = found
            exporting, comparing = exporter(written, options.work), comparer()
            while time.monotonic() < until:
                try:
                    recipe = group.popleft()
                except IndexError:  # done, or taken by another worker
                    break
                try:
                    row = run_one(recipe, exporting, comparing, options.work, options.keep)
                except RuntimeError as error:  # the package cannot be imported: no result of its models
                    print(f"{recipe.key}: {error}; {len(group) + 1} models are not run", flush=True)
                    break
                with lock:
                    done.append(row)
                    results.keep(row, every)
                    _report(row, len(done), len(todo), time.monotonic() - start)
            group.clear()  # of what is not run
            exporting.close()
            comparing.close()

    workers = [threading.Thread(target=work) for _ in range(options.jobs)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return done


def _report(row: Row, number: int, total: int, elapsed: float) -> None:
    left = elapsed / number * (total - number) / 60
    what = f"{row.difference:.1e}" if row.verdict in ("match", ROUNDING) else row.why[:150]
    print(
        f"[{number}/{total}, {left:.0f} min left] {row.key}: {row.verdict} {what} "
        f"(export {row.export_s:.0f} s, compile {row.compile_s:.0f} s, {row.operations} operations)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--family", default="", help="only these families, separated by commas")
    parser.add_argument("--only", default="", help="a regular expression of family/name")
    parser.add_argument("--again", choices=("", "failed", "stale", "all"), default="", help="which results are not kept")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--limit", type=int, default=0, help="at most so many models")
    parser.add_argument("--breadth", type=int, default=0, help="at most so many models of each family")
    parser.add_argument("--minutes", type=float, default=0, help="start no model after that time")
    parser.add_argument("--keep", action="store_true", help="keep the exported files")
    parser.add_argument("--list", action="store_true", help="only print the models that would be run")
    parser.add_argument("--work", type=Path, default=ROOT / "build/zoo")
    options = parser.parse_args()
    every, rows = all_recipes(), results.load()
    todo = select(every, rows, options)
    if options.list:
        print("\n".join(r.key for r in todo))
        return
    done = sweep(todo, every, options) if todo else []
    table.write(every, results.load())
    count = Counter(r.verdict for r in done)
    print(f"ran {len(done)}: " + ", ".join(f"{n} {v}" for v, n in count.most_common()))
    sys.exit(any(r.verdict in (DIFFERS, REFUSED, FAILED, NOT_EXPORTED) for r in done))


if __name__ == "__main__":
    main()
