"""Records and choices: what is stored, joined, refused and chosen."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest
import tvm_ffi
from tvm import te, tirx

from oarlock import OarlockError, compat
from oarlock.kernels import Choices, Records
from oarlock.kernels.choice import Found
from oarlock.kernels.records import chooser, searched, shipped, user_path

KEY, FAMILY, WORK = "cpu znver4 threads=1", "cpu 512 bits", "product float32 8x8 o8"


def records(**times: float) -> Records:
    made = Records()
    for name, seconds in times.items():
        made.put(KEY, FAMILY, WORK, name, seconds, 1)
    return made


def test_what_a_kernel_says_of_itself_is_not_in_its_name() -> None:
    size = tirx.Var("n", "int64")
    x = te.placeholder((size, 4), name="x")
    kernel = te.create_prim_func([x, te.compute((size, 8), lambda i, j: x(i, j // 2), name="resize")]).without_attr("global_symbol")
    name = f"{tvm_ffi.structural_hash(kernel) & (2**64 - 1):016x}"  # which records of before the attribute have
    said = [kernel.with_attr(compat.RESIZE, text) for text in ('{"scales": [2.0]}', '{"scales": [0]}')]
    assert [compat.structural_name(f) for f in (kernel, *said)] == [name] * 3
    other = kernel.with_attr("op_pattern", 8)
    assert compat.structural_name(other) != name


# ---- choices ---------------------------------------------------------------------------------------------------------


def test_the_first_is_picked_where_nothing_is_known() -> None:
    choices = Choices()
    assert choices.pick("w", {"a": 1, "b": 2}) == 1
    assert choices.picked == {"w": "a"} and choices.asked == {"w": ("a", "b")}


def test_a_plan_is_followed_where_it_fits() -> None:
    choices = Choices.of_plan({"w": "b", "v": "no such candidate"})
    assert [choices.pick(w, {"a": 1, "b": 2}) for w in "wvu"] == [2, 1, 1]
    choices.pick("w", {"a": 1, "c": 3})
    assert choices.asked["w"] == ("a", "b", "c")


def test_records_choose_the_fastest_on_offer() -> None:
    choose = chooser([records(a=3.0, b=1.0, c=2.0)], KEY, FAMILY)
    assert choose(WORK, ["a", "b", "c"]) == "b"
    assert choose(WORK, ["a", "c"]) == "c"
    assert choose(WORK, ["z"]) is None and choose("other", ["a"]) is None


def test_a_gain_within_noise_keeps_the_default() -> None:
    """The more often it was measured, the smaller a gain may be; never as small as two in a hundred."""
    for seconds, count, winner in ((0.985, 1000, "a"), (0.95, 9, "a"), (0.95, 36, "b"), (0.5, 1, "b"), (0.9, 1, "a")):
        found = records(a=1.0)
        found.put(KEY, FAMILY, WORK, "b", seconds, count)
        assert chooser([found], KEY, FAMILY)(WORK, ["a", "b"]) == winner


def test_a_failed_candidate_is_never_taken() -> None:
    found = records(a=2.0)
    found.fail(KEY, FAMILY, WORK, "b", "wrong numbers")
    assert chooser([found], KEY, FAMILY)(WORK, ["a", "b"]) == "a"


def test_this_machine_goes_before_its_family_and_the_user_before_the_package() -> None:
    mine, package = records(a=1.0, b=2.0), records(a=2.0, b=1.0)
    assert chooser([mine, package], KEY, FAMILY)(WORK, ["b", "a"]) == "a"
    assert chooser([mine], "cpu znver5 threads=1", FAMILY)(WORK, ["b", "a"]) == "a"
    assert chooser([mine], "cpu znver5 threads=1", "another family")(WORK, ["b", "a"]) is None
    exact = Records()
    exact.put("cpu znver5 threads=1", FAMILY, WORK, "b", 1.0, 1)
    assert chooser([mine, exact], "cpu znver5 threads=1", FAMILY)(WORK, ["b", "a"]) == "b"


# ---- merging ---------------------------------------------------------------------------------------------------------


def test_merge_is_a_weighted_mean_of_scaled_times() -> None:
    ours, theirs = Records(), Records()
    ours.put(KEY, FAMILY, WORK, "a", 1.0, 3)
    theirs.put(KEY, FAMILY, WORK, "a", 10.0, 1)  # a machine ten times slower
    theirs.put(KEY, FAMILY, WORK, "b", 5.0, 2)
    theirs.put("another target", FAMILY, WORK, "a", 7.0, 1)
    ours.merge(theirs)
    entries = ours.entries(KEY, WORK)
    assert entries["a"]["seconds"] == pytest.approx(1.0) and entries["a"]["count"] == 4
    assert entries["b"]["seconds"] == pytest.approx(0.5) and entries["b"]["count"] == 2
    assert ours.entries("another target", WORK)["a"]["seconds"] == 7.0
    assert theirs.entries(KEY, WORK)["b"]["seconds"] == 5.0  # the other database stays as it was


def test_merge_keeps_failures() -> None:
    ours, theirs = records(a=1.0), Records()
    theirs.fail(KEY, FAMILY, WORK, "a", "crashed")
    ours.merge(theirs)
    assert ours.entries(KEY, WORK)["a"]["failed"] == "crashed"


# ---- what searches found ---------------------------------------------------------------------------------------------

TRACE = [[["GetSBlock", [], ["acc", "main"], ["b0"]]], [[0, 1.5]]]


def searched_records(name: str, alone: float, trials: int) -> Records:
    made = records(a=1.0)
    made.put_search(KEY, FAMILY, WORK, name, Found("a", TRACE), trials, alone)
    return made


def test_a_search_is_a_candidate_once_it_was_timed() -> None:
    found = searched_records("search 1", 0.1, 8)
    places = [found], KEY, FAMILY
    choices = Choices(chooser(*places), searched(*places))
    assert choices.pick(WORK, {"a": 1, "b": 2}) == 1 and choices.picked[WORK] == "a" and choices.found(WORK) is None
    found.put(KEY, FAMILY, WORK, "search 1", 0.5, 9)
    assert choices.pick(WORK, {"a": 1, "b": 2}) == 1 and choices.picked[WORK] == "search 1" and choices.found(WORK) == Found("a", TRACE)
    assert choices.asked[WORK] == ("a", "b", "search 1")
    assert choices.pick(WORK, {"b": 2}) == 2  # the candidate that it starts from is not on offer
    relative = chooser([found], "cpu znver5", FAMILY), searched([found], "cpu znver5", FAMILY)
    assert Choices(*relative).pick(WORK, {"a": 1}) == 1 and Choices(*relative).found("other") is None


def test_only_the_last_search_waits_to_be_timed(tmp_path: Path) -> None:
    found = searched_records("search 1", 0.2, 8)
    found.add_to(tmp_path / "records.json")
    again = searched_records("search 1a", 0.3, 8)  # the best was lucky: timed again, another is better
    again.add_to(tmp_path / "records.json")
    assert list(Records.load(tmp_path / "records.json").searched(KEY, WORK)) == ["search 1a"]
    found.put_search(KEY, FAMILY, WORK, "search 2", Found("a", TRACE), 16, 0.1)
    assert set(found.entries(KEY, WORK)) == {"a", "search 2"}
    found.put(KEY, FAMILY, WORK, "search 2", 0.5, 9)
    found.put_search(KEY, FAMILY, WORK, "search 3", Found("a", TRACE), 24, 0.05)
    assert list(found.searched(KEY, WORK)) == ["search 3", "search 2"]


def test_traces_are_stored_and_merged(tmp_path: Path) -> None:
    ours, theirs = searched_records("search 1", 0.1, 8), searched_records("search 1", 0.2, 16)
    theirs.put(KEY, FAMILY, WORK, "search 1", 0.5, 9)
    other = searched_records("search 2", 0.3, 32)
    for order in ([ours, theirs, other], [other, theirs, ours]):
        joined = Records()
        for file in order:
            joined.merge(file)
        joined.save(tmp_path / "records.json")
        entries = Records.load(tmp_path / "records.json").entries(KEY, WORK)
        assert entries["search 1"]["trace"] == TRACE and entries["search 1"]["seconds"] == 0.5 and entries["search 1"]["base"] == "a"
        assert entries["search 2"]["trace"] == TRACE and "seconds" not in entries["search 2"]
    theirs.add_to(tmp_path / "more.json")
    ours.add_to(tmp_path / "more.json")
    assert Records.load(tmp_path / "more.json").entries(KEY, WORK)["search 1"]["seconds"] == 0.5


def test_a_failed_search_keeps_its_trials() -> None:
    found = searched_records("search 1", 0.1, 8)
    found.fail(KEY, FAMILY, WORK, "search 1", "wrong numbers")
    assert found.searched(KEY, WORK) == {} and found.entries(KEY, WORK)["search 1"]["trials"] == 8


# ---- files -----------------------------------------------------------------------------------------------------------


def test_save_and_load(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "records.json"
    made = records(a=1.5)
    made.fail(KEY, FAMILY, WORK, "b", "crashed")
    made.save(path)
    assert list(Records.load(path)) == list(made)
    assert [p.name for p in path.parent.iterdir()] == ["records.json"]


def test_a_writer_that_dies_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "records.json"
    records(a=1.0).save(path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("oarlock.kernels.records.os.replace", fail)
    with pytest.raises(OarlockError, match="No space left"):
        records(a=2.0).save(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def _add(path: Path, number: int) -> None:
    for i in range(20):
        made = Records()
        made.put(KEY, FAMILY, f"work {number} {i}", "a", 1.0, 1)
        made.add_to(path)


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_add, args=(path, number)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert len(Records.load(path)) == 60


def _document(kernels: object, version: object = 1) -> str:
    targets = {KEY: {"family": FAMILY, "kernels": kernels}}
    return json.dumps({"format": "oarlock records", "version": version, "targets": targets})


@pytest.mark.parametrize(
    "text,said",
    [
        ("", "damaged"),
        ('{"format": "oarlock records", "version": 1, "targets": {"cp', "damaged"),
        ("[" * 100_000, "damaged"),
        ("[]", "no file of Oarlock's records"),
        ('{"format": "something else"}', "no file of Oarlock's records"),
        (_document({}, version=2), "have version 2"),
        (_document([]), "damaged"),
        (_document({WORK: []}), "damaged"),
        (_document({WORK: {"a": {"seconds": "fast", "count": 1}}}), "damaged"),
        (_document({WORK: {"a": {"seconds": -1.0, "count": 1}}}), "damaged"),
        (_document({WORK: {"a": {"seconds": float("nan"), "count": 1}}}), "damaged"),
        (_document({WORK: {"a": {"seconds": 1.0}}}), "damaged"),
        (_document({WORK: {"a": 1.0}}), "damaged"),
        (_document({WORK: {"a": {"trace": "x", "base": "a", "trials": 1, "alone": 1.0}}}), "damaged"),
        (_document({WORK: {"a": {"trace": [], "trials": 1, "alone": 1.0}}}), "damaged"),
    ],
)
def test_bad_files_are_refused_with_their_path(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "records.json"
    path.write_text(text)
    with pytest.raises(OarlockError, match=said) as caught:
        Records.load(path)
    assert str(path) in str(caught.value) and caught.value.todo


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(OarlockError, match="not there"):
        Records.load(tmp_path / "none.json")
    assert len(Records.load(tmp_path / "none.json", missing_ok=True)) == 0
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(OarlockError, match="cannot be read"):
        Records.load(tmp_path / "binary")
    with pytest.raises(OarlockError, match="cannot be read"):
        Records.load(tmp_path)


def test_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OARLOCK_RECORDS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert user_path() == tmp_path / "oarlock" / "records.json"
    monkeypatch.setenv("OARLOCK_RECORDS", str(tmp_path / "mine.json"))
    assert user_path() == tmp_path / "mine.json"


def test_the_package_ships_records_that_read() -> None:
    assert len(shipped()) > 0


def test_a_modelled_time_is_no_noise() -> None:
    """A gain of 0.1% is one where a device models its time, after one run."""
    for modelled in (False, True):
        records = Records()
        for name, seconds in (("first", 1.0), ("other", 0.999)):
            records.put("xpu", "xpu", "w", name, seconds, 1, modelled=modelled)
        assert records.best("xpu", "w", ["first", "other"]) == ("other" if modelled else "first")
