"""F12 to F22 and F29: replies that came whole, and are not what they claim or not what was asked for."""

from pathlib import Path

import pytest

from errata import prompts
from tests.faults.support import Simulated, Told, ran, recipe_at, run, undisturbed


def nothing_cut_is_accepted(told: Told, cut: int) -> None:
    """So many replies were cut: none is in a row, has a verdict, or says where an error is."""
    assert told.finishes["length"] == cut
    unfinished = {a.id: e for e in told.episodes for a in e.attempts if not a.complete}
    assert unfinished and all(e.outcome(id) == "unknown" for id, e in unfinished.items())
    assert told.rows and not [row for row in told.rows if unfinished.keys() & set(row.lineage)]
    critiques = [c for e in told.episodes for c in e.critiques if c.call and c.call.finish == "length"]
    assert {c.verdict for c in critiques} <= {"unknown"} and told.lost["truncated"] >= len(critiques)


def test_f12_a_reply_cut_by_its_limit_is_never_accepted(tmp_path: Path) -> None:
    told = ran(tmp_path, "finish_length=0.3").sound().accounted()
    assert told.retries == told.flags == {} and told.lost.keys() <= {"truncated"}
    nothing_cut_is_accepted(told, told.account["faults"]["finish_length"])


def test_f13_nor_is_one_that_the_server_calls_whole(tmp_path: Path) -> None:
    told = ran(tmp_path, "cut_unreported=0.3").sound().accounted()
    assert told.retries == {} and told.flags == told.account["faults"]
    nothing_cut_is_accepted(told, told.account["faults"]["cut_unreported"])


def test_f14_no_text_is_asked_for_once_more_with_another_seed(tmp_path: Path) -> None:
    kinds = ("empty", "whitespace", "think", "null")
    told = ran(tmp_path, *(f"{kind}=0.12" for kind in kinds)).sound().accounted()
    assert told.account["faults"].keys() == set(kinds) and told.lost.keys() == {"empty"}
    assert sum(told.account["faults"].values()) == told.retries["empty"] + told.lost["empty"]
    assert told.flags == {"reseeded": told.retries["empty"] - told.lost["empty"]}


def test_f15_a_reply_that_goes_round_in_circles_is_quarantined(tmp_path: Path) -> None:
    told = ran(tmp_path, "loop=0.2").sound().accounted()
    assert told.retries == {} and told.lost == told.account["faults"] and told.lost["loop"] >= 5
    assert all("copies of" in d.detail for d in told.drops if d.code == "loop" and d.target != d.episode)


def test_f16_another_number_of_choices_is_an_error_and_asked_again(tmp_path: Path) -> None:
    kinds = ("choices_extra", "choices_missing", "choice_index", "finish_unknown")
    told = ran(tmp_path, *(f"{kind}=0.1" for kind in kinds)).unharmed()
    assert told.account["faults"].keys() == set(kinds)
    assert told.retries == {"bad_envelope": sum(told.account["faults"].values())}


def test_f17_another_fingerprint_is_counted(tmp_path: Path) -> None:
    told = ran(tmp_path, "fingerprint=0.2").unharmed()
    other, asked = told.account["faults"]["fingerprint"], told.stats["requests"]
    # What differs from the first reply's is counted, and the first may have been the odd one.
    assert told.retries == {} and told.flags["fingerprint_changed"] in (other, asked - other)


def test_f18_hostile_text_is_mended_and_counted(tmp_path: Path) -> None:
    told = ran(tmp_path, "surrogate=0.15", "nul=0.15", "bidi=0.15", "bom=0.15").sound().accounted()
    faults = told.account["faults"]
    mended = faults["surrogate"] + faults["nul"]
    assert told.retries == {} and told.flags == {"surrogates": mended, "bidi": faults["bidi"]} and faults["bom"]
    texts = [a.text for e in told.episodes for a in e.attempts]
    assert any("\ufffd" in t for t in texts) and any("\u202e" in t for t in texts) and not any("\0" in t for t in texts)


def test_f18_f19_bytes_that_are_no_text_or_no_json_are_asked_for_again(tmp_path: Path) -> None:
    kinds = ("invalid_utf8", "flood", "malformed", "nan", "huge_int", "deep")
    told = ran(tmp_path, *(f"{kind}=0.07" for kind in kinds)).unharmed()
    assert told.account["faults"].keys() == set(kinds)
    assert told.retries == {"bad_envelope": sum(told.account["faults"].values())}


@pytest.mark.parametrize("kind", ["fenced", "prose", "twice"])
def test_f19_json_that_is_not_just_json_is_quarantined_and_not_mended(tmp_path: Path, kind: str) -> None:
    with Simulated() as student, Simulated(f"{kind}=1") as teacher:
        recipe = recipe_at(tmp_path / "recipe", student)
        recipe.data["engines"]["teacher"]["with"] |= {"base_url": teacher.urls[0], "identity": "teacher"}
        recipe.data["stages"][2]["with"] = {"prompt": "judge"}
        recipe.write()
        told = run(recipe, tmp_path / "out", student).sound()
        asked = teacher.account
    assert told.lost == {"parse": asked["requests"]} == {"parse": asked["faults"][kind]} and told.lost["parse"] > 5
    critiques = [c for e in told.episodes for c in e.critiques]
    assert critiques and {(c.verdict, c.first_error) for c in critiques} == {("unknown", None)}
    assert not [a for e in told.episodes for a in e.attempts if a.kind == "revised"], "nobody revises after it"


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"first_error": 1,}', '{"first_error": NaN}', '{"first_error": 1e999}', '{"first_error": "1"}',
     '{"first_error": 1.0}', '{"first_error": true}', '{"first_error": 1, "first_error": 2}', "[1]",
     '{"first_error": ' + "9" * 5000 + "}", '{"first_error": ' + "[" * 100_000, '```json\n{"first_error": 1}\n```',
     '{"first_error": 1} Hope this helps!'],
    ids=lambda text: text[:24],
)  # fmt: skip
def test_f19_a_location_is_read_strictly(text: str) -> None:
    reading = prompts.load("judge").reading
    assert reading('{"first_error": 1}') == ("error", 1)
    assert reading(text) == ("unknown", None)


def test_f20_a_call_of_a_tool_is_no_text(tmp_path: Path) -> None:
    told = ran(tmp_path, "tool_calls=0.3").sound().accounted()
    assert told.account["faults"]["tool_calls"] == told.retries["empty"] + told.lost["empty"]
    assert told.lost.keys() == {"empty"} and told.flags == {"reseeded": told.retries["empty"] - told.lost["empty"]}
    assert b"no_such_tool" not in b"".join(p.read_bytes() for p in (tmp_path / "out/journal").iterdir())


def test_f21_counts_that_are_missing_or_cannot_be_are_flagged_and_change_no_row(tmp_path: Path) -> None:
    told = ran(tmp_path, "usage_missing=0.15", "usage_negative=0.15", "usage_wrong=0.15").sound().accounted()
    faults = told.account["faults"]
    missing = faults["usage_missing"] + faults["usage_negative"]
    assert told.retries == {} and told.flags == {"usage_missing": missing, "usage_wrong": faults["usage_wrong"]}
    assert told.rows == undisturbed().rows and not told.lost


def test_f22_logprobs_and_thoughts_that_nobody_asked_for_are_left_out(tmp_path: Path) -> None:
    told = ran(tmp_path, "logprobs=0.3", "reasoning=0.3").unharmed()
    assert told.retries == {} and told.flags == {"reasoning_dropped": told.account["faults"]["reasoning"]}


def test_f29_a_refusal_is_counted_by_itself(tmp_path: Path) -> None:
    told = ran(tmp_path, "refusal=0.15", "content_filter=0.15").sound().accounted()
    assert told.account["faults"].keys() == {"refusal", "content_filter"} and told.retries == {}
    assert told.lost == {"refusal": sum(told.account["faults"].values())}
    assert told.journal.errors == 0, "it is a reply, and not asked for again by the next run"
