"""Records: how long each candidate took for each workload, as one file that can be merged and shared.

    {"format": "oarlock records", "version": 1,
     "targets": {"cpu znver4 threads=1": {
        "family": "cpu 512x32 serial",
        "kernels": {"product float32 3136x64 o256": {
            "14x32/16 rows": {"seconds": 9.1e-4, "count": 5, "date": "2026-11-22", "oarlock": "0.1.0"},
            "28x16/16 rows": {"failed": "wrong numbers", …},
            "search 8d1f03c2aa": {"base": "14x32/16 rows", "trace": […], "trials": 64, "alone": 8.1e-4, "seconds": …}}}}}}

A family joins machines that are alike: what was measured on one is a good guess for the others.  What a search found is a candidate like
others once it was timed in its place (``seconds``); before, only what it takes alone is known, which says little.  A time that a device
models has ``modelled``: it is the same in every run.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import fcntl
import json
import math
import os
import statistics
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from .._version import __version__
from ..cachefile import cache_path, replace_text
from ..errors import OarlockError
from .choice import Chooser, Found, Searched

FORMAT, VERSION = "oarlock records", 1
ENV_PATH = "OARLOCK_RECORDS"
_SEARCH = ("base", "trace", "trials", "alone")  # what an entry has of a search
NOISE, DOUBT = 0.02, 0.2  # parts of the default's time: see _margin

Entry = dict[str, Any]


def user_path() -> Path:
    """The user's own database: $OARLOCK_RECORDS, else a file in the platform's folder for caches."""
    return cache_path(ENV_PATH, "records.json")


@cache
def shipped() -> Records:
    """The database that comes with the package."""
    records = Records()
    for file in sorted(files(__package__).joinpath("default").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".json"):
            records.merge(Records.parse(file.read_text(encoding="utf-8"), file.name))
    return records


class Records:
    """Times by (target key, workload, candidate)."""

    def __init__(self) -> None:
        self._targets: dict[str, dict[str, Any]] = {}

    # ---- reading and writing ---------------------------------------------------------------------------------------

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, missing_ok: bool = False) -> Records:
        """Read a database.  OarlockError when it is damaged or of a newer format, and when it is missing unless ``missing_ok``."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except FileNotFoundError as error:
            if missing_ok:
                return cls()
            raise OarlockError("the records are not there", where=str(path), todo="make them with oarlock tune") from error
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OarlockError(f"the records cannot be read: {reason}", where=str(path)) from error
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, where: str) -> Records:
        """The records in a database's text."""
        damaged = OarlockError("the file of records is damaged", where=where, todo="delete it, or take it from a copy")
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise damaged from error
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise OarlockError("this is no file of Oarlock's records", where=where, todo="give a file that oarlock tune wrote")
        if document.get("version") != VERSION:
            raise OarlockError(
                f"the records have version {document.get('version')!r:.20}; this Oarlock reads {VERSION}",
                where=where,
                todo="use the Oarlock that wrote them, or tune again",
            )
        targets = document.get("targets")
        if not isinstance(targets, dict) or not all(map(_good_target, targets.values())):
            raise damaged
        records = cls()
        records._targets = targets
        return records

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the database in one step: no reader sees half a file."""
        path = Path(path)
        try:
            replace_text(path, self._text())
        except OSError as error:
            raise OarlockError(f"the records cannot be written: {error.strerror or error}", where=str(path)) from error

    def _text(self) -> str:
        """JSON with one line for each record, so that files can be read and compared."""
        targets = []
        for key, target in sorted(self._targets.items()):
            kernels = []
            for workload, entries in sorted(target["kernels"].items()):
                lines = (f"{_json(name)}: {_json(entry)}" for name, entry in sorted(entries.items()))
                kernels.append(f"{_json(workload)}: {{\n" + ",\n".join(lines) + "}")
            family = f'{_json(key)}: {{"family": {_json(target["family"])}, "kernels": {{\n'
            targets.append(family + ",\n".join(kernels) + "}}")
        head = f'{{"format": {_json(FORMAT)}, "version": {VERSION}, "targets": {{\n'
        return head + ",\n".join(targets) + "}}\n"

    def add_to(self, path: str | os.PathLike[str]) -> None:
        """Put these records into the database at ``path``, over what it has of the same; other processes may do so too."""
        path = Path(path)
        with _locked(path):
            stored = Records.load(path, missing_ok=True)
            for key, target in self._targets.items():
                for workload, entries in target["kernels"].items():
                    known = stored._kernel(key, target["family"], workload)
                    for name, entry in entries.items():
                        known[name] = entry if is_timed(entry) else known.get(name, {}) | entry
                    _prune(known, next(filter(lambda name: _waits(entries[name]), entries), ""))
            stored.save(path)

    # ---- contents --------------------------------------------------------------------------------------------------

    def put(self, key: str, family: str, workload: str, candidate: str, seconds: float, count: int, *, modelled: bool = False) -> None:
        """Record a time, in place of an earlier one."""
        entries = self._kernel(key, family, workload)
        _release(entries)
        timed = {"seconds": float(f"{seconds:.4g}"), "count": count, **({"modelled": True} if modelled else {}), **_stamp()}
        entries[candidate] = {name: entries.get(candidate, {})[name] for name in _SEARCH if name in entries.get(candidate, {})} | timed

    def fail(self, key: str, family: str, workload: str, candidate: str, reason: str, trials: int | None = None) -> None:
        """Record that a candidate must not be used; ``trials``: of the search that found it (None: as recorded), or found nothing."""
        entries = self._kernel(key, family, workload)
        trials = entries.get(candidate, {}).get("trials") if trials is None else trials
        entries[candidate] = {"failed": reason, **({"trials": trials} if trials else {}), **_stamp()}

    def put_search(self, key: str, family: str, workload: str, candidate: str, found: Found, trials: int, alone_s: float) -> None:
        """Record the best of a search's ``trials``: a candidate that is not timed in its place yet, instead of earlier such ones."""
        entries = self._kernel(key, family, workload)
        facts = {"base": found.base, "trace": found.trace, "trials": trials, "alone": float(f"{alone_s:.4g}"), **_stamp()}
        entries[candidate] = entries.get(candidate, {}) | facts
        _prune(entries, candidate)

    def keep(self, key: str, workload: str, candidate: str | None) -> None:
        """Let ``candidate`` be chosen whatever the times say, until there is a new time: all winners together were no faster.

        None: let the times decide again.
        """
        entries = self.entries(key, workload)
        _release(entries)
        if candidate in entries:
            entries[candidate] = entries[candidate] | {"kept": True}

    def searched(self, key: str, workload: str) -> dict[str, Found]:
        """What searches found for a workload, by candidate, the fastest alone first."""
        entries = self.entries(key, workload)
        names = sorted((n for n, e in entries.items() if "trace" in e), key=lambda n: float(entries[n].get("alone", math.inf)))
        return {name: Found(entries[name]["base"], entries[name]["trace"]) for name in names}

    def entries(self, key: str, workload: str) -> dict[str, Entry]:
        """What is known of a workload, by candidate."""
        return self._targets.get(key, {}).get("kernels", {}).get(workload, {})

    def __iter__(self) -> Iterator[tuple[str, str, str, Entry]]:
        """(target key, workload, candidate, entry) of every record."""
        for key, target in self._targets.items():
            for workload, entries in target["kernels"].items():
                for candidate, entry in entries.items():
                    yield key, workload, candidate, entry

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def best(self, key: str, workload: str, candidates: Sequence[str], *, kept: bool = True) -> str | None:
        """The fastest recorded of ``candidates`` for exactly this target, or the one that is kept; None when none is recorded.

        The first candidate is left only for a gain that is no noise, which must be the larger the fewer the measurements are; where times
        are modelled there is no noise.
        Failed ones are never taken.
        """
        entries = self.entries(key, workload)
        known = {name: entries[name] for name in candidates if "seconds" in entries.get(name, {})}
        if kept and (pinned := [name for name, entry in known.items() if entry.get("kept")]):
            return pinned[0]
        default = known.get(candidates[0])
        if default is not None:
            known = {n: e for n, e in known.items() if e is default or e["seconds"] < default["seconds"] * (1 - _margin(e))}
        return min(known, key=lambda name: known[name]["seconds"]) if known else None

    def relatives(self, key: str, family: str) -> list[str]:
        """The other targets of a family."""
        return [k for k, target in self._targets.items() if target["family"] == family and k != key]

    def merge(self, other: Records) -> None:
        """Add the records of ``other``; what both have becomes the mean, weighted by count.

        Times of one workload from two machines or two days differ by a factor: that is taken from the candidates both have, and
        the times of ``other`` are scaled by it first.  A candidate that failed in either has failed.
        """
        for key, target in other._targets.items():
            for workload, theirs in target["kernels"].items():
                ours = self._kernel(key, target["family"], workload)
                both = [name for name in theirs if "seconds" in theirs[name] and "seconds" in ours.get(name, {})]
                scale = statistics.median(ours[name]["seconds"] / theirs[name]["seconds"] for name in both) if both else 1.0
                for name, entry in theirs.items():
                    ours[name] = _joined(ours.get(name), entry, scale)
                _prune(ours)

    def _kernel(self, key: str, family: str, workload: str) -> dict[str, Entry]:
        target = self._targets.setdefault(key, {"family": family, "kernels": {}})
        return target["kernels"].setdefault(workload, {})


def chooser(databases: Sequence[Records], key: str, family: str) -> Chooser:
    """How a compilation chooses: the first database that knows the workload on this target, else on one of its family, decides."""
    places = _places(databases, key, family)

    def choose(workload: str, candidates: Sequence[str]) -> str | None:
        found = (records.best(at, workload, candidates) for records, at in places)
        return next((name for name in found if name is not None), None)

    return choose


def searched(databases: Sequence[Records], key: str, family: str) -> Searched:
    """What searches found, wherever the chooser looks."""
    places = _places(databases, key, family)

    def found(workload: str) -> dict[str, Found]:
        return {name: found for records, at in reversed(places) for name, found in records.searched(at, workload).items()}

    return found


def _places(databases: Sequence[Records], key: str, family: str) -> list[tuple[Records, str]]:
    own = [(records, key) for records in databases]
    return own + [(records, relative) for records in databases for relative in records.relatives(key, family)]


def is_timed(entry: Entry | None) -> bool:
    """Whether a candidate was measured in its place, or failed; False for what a search has just found, too."""
    return entry is not None and ("seconds" in entry or "failed" in entry)


def _margin(entry: Entry) -> float:
    """The gain to ask of a candidate by the turns that it was timed in: two builds of one kernel differ by as much on a busy machine."""
    return 0.0 if entry.get("modelled") else max(NOISE, DOUBT / math.sqrt(entry["count"]))


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, sort_keys=True)


def _joined(ours: Entry | None, theirs: Entry, scale: float) -> Entry:
    if "seconds" in theirs:
        theirs = theirs | {"seconds": theirs["seconds"] * scale}
    if ours is None:
        return copy.copy(theirs)
    for entry in (ours, theirs):
        if "failed" in entry:
            return copy.copy(entry)
    if "seconds" not in ours or "seconds" not in theirs:  # one of them was only searched
        return (ours | theirs) if "seconds" in theirs else (theirs | ours)
    count = ours["count"] + theirs["count"]
    seconds = (ours["seconds"] * ours["count"] + theirs["seconds"] * theirs["count"]) / count
    newer = max(ours, theirs, key=lambda entry: str(entry.get("date", "")))
    return newer | {"seconds": seconds, "count": count}


def _stamp() -> dict[str, str]:
    return {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), "oarlock": __version__}


def _good_target(target: Any) -> bool:
    if not isinstance(target, dict) or not isinstance(target.get("family"), str) or not isinstance(target.get("kernels"), dict):
        return False
    kernels = target["kernels"].values()
    return all(isinstance(entries, dict) and all(map(_good_entry, entries.values())) for entries in kernels)


def _good_entry(entry: Any) -> bool:
    match entry:
        case {"trace": trace} if not isinstance(trace, list) or not isinstance(entry.get("base"), str):
            return False
        case {"failed": str()}:
            return True
        case {"seconds": float(seconds), "count": int(count)}:
            return math.isfinite(seconds) and seconds > 0 and count > 0
        case {"trace": list(), "trials": int(), "alone": float()}:
            return True
    return False


def _release(entries: dict[str, Entry]) -> None:
    for name, entry in entries.items():
        if "kept" in entry:
            entries[name] = {field: value for field, value in entry.items() if field != "kept"}


def _prune(entries: dict[str, Entry], latest: str = "") -> None:
    """Of what searches found and nobody timed yet, the last is kept: it stands for the most trials, and ``latest`` for as many."""
    waiting = [name for name, entry in entries.items() if _waits(entry)]
    last = max(waiting, key=lambda name: (entries[name]["trials"], name == latest), default="")
    for name in waiting:
        if name != last:
            del entries[name]


def _waits(entry: Entry) -> bool:
    return "trace" in entry and not is_timed(entry)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time, by a lock on a file beside ``path``."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = open(path.with_name(f".{path.name}.lock"), "w", encoding="ascii")
    except OSError as error:
        raise OarlockError(f"the records cannot be written: {error.strerror or error}", where=str(path)) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
