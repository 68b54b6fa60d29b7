"""The kept results: one line a model in zoo/results.tsv, in the recipes' order, so that a sweep goes on where the last one stopped."""

from __future__ import annotations

import csv
import fcntl
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from .recipe import Recipe

PATH = Path(__file__).with_name("results.tsv")

# verdicts, best first
MATCH, ROUNDING, DIFFERS, REFUSED, FAILED, NOT_EXPORTED = "match", "rounding", "differs", "refused", "failed", "not exported"


@dataclass
class Row:
    """What one model gave.  ``recipe``: the digest of the recipe that was run; ``why``: the reason of every verdict but a match."""

    family: str
    name: str
    verdict: str
    why: str = ""
    difference: float = 0.0
    format: str = ""
    operations: int = 0
    distinct: int = 0
    megabytes: float = 0.0
    dynamic: bool = False
    control: bool = False
    runs: str = ""
    reads: str = ""
    export_s: float = 0.0
    compile_s: float = 0.0
    recipe: str = ""
    oarlock: str = ""
    paddle: str = ""

    @property
    def key(self) -> str:
        return f"{self.family}/{self.name}"

    @property
    def good(self) -> bool:
        return self.verdict in (MATCH, ROUNDING)


_KINDS = {"float": float, "int": int, "bool": lambda text: text == "yes", "str": str}


def load(path: Path = PATH) -> dict[str, Row]:
    """Rows by family/name."""
    if not path.exists():
        return {}
    kinds = {f.name: _KINDS[str(f.type)] for f in fields(Row)}
    with path.open(newline="", encoding="utf-8") as file:
        rows = [Row(**{n: kinds[n](v) for n, v in line.items() if n in kinds}) for line in csv.DictReader(file, delimiter="\t")]
    return {row.key: row for row in rows}


def keep(row: Row, order: Iterable[Recipe], path: Path = PATH) -> None:
    """Put one row into the file, whatever another sweep has put there meanwhile; a row whose recipe is gone goes."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows = load(path) | {row.key: row}
        new = path.with_suffix(".new")
        with new.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter="\t", lineterminator="\n")
            writer.writerow([f.name for f in fields(Row)])
            writer.writerows([_text(v) for v in asdict(rows[r.key]).values()] for r in order if r.key in rows)
        new.replace(path)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
