"""Experience of labelled episodes: what the note says, who gets one, and that it gives nothing away."""

from msgspec.structs import replace

from errata.engines.expert import Noisy
from errata.records.types import Check, Episode, Verdict
from errata.sources.worlds import worlds
from errata.stages.act import act
from errata.stages.agent import observed, spoken
from errata.stages.condense import condense
from tests.stages.support import Says, World, grown, run


def played(seed: int = 3, rate: float = 0.15) -> Episode:
    start = next(iter(worlds(world="house", count=1, difficulty=(2, 2), seed=seed)))
    assert isinstance(start, Episode)
    return grown(act, start, World({"student": Noisy(rate=rate)}), n=6, limit=12)


def test_the_note_counts_wins_losses_and_what_the_lost_ones_did_not_meet() -> None:
    episode = played()
    won = sum(v.outcome == "pass" for v in episode.verdicts)
    lost = [v for v in episode.verdicts if v.outcome == "fail"]
    assert won and lost, "the episodes must differ for this test to say anything"
    (note,) = run(condense, episode).notes
    lines = note.text.split("\n")
    assert (note.kind, note.about, note.seen) == ("experience", episode.id, ())
    assert lines[0] == f"{won} of 6 episodes won."
    for name in {c.name for v in lost for c in v.checks}:
        n = sum(c.name == name and c.outcome == "fail" for v in lost for c in v.checks)
        assert (f"Not met in {n} of {len(lost)} lost: {name}." in lines) == (n > 0)


def test_what_was_answered_again_and_again_is_quoted_the_most_frequent_first() -> None:
    episode = played()
    steps = [s for i in range(4) for s in (*spoken("go to moon", 2 * i), observed("no such room.", 2 * i + 1))]
    lost = replace(episode.attempts[0], steps=tuple(steps))
    verdict = Verdict(target=lost.id, stage="act", verifier="world", version=1, outcome="fail", score=0.0)
    alone = Episode(problem=episode.problem, attempts=(lost,), verdicts=(verdict,))
    (note,) = run(condense, alone).notes
    assert note.text == '0 of 1 episodes won.\nAnswered 3 times: "no such room."'


def test_problems_without_losses_are_left_alone_where_losses_are_asked_for_and_unjudged_episodes_do_not_count() -> None:
    solved = played(rate=0.0)
    assert run(condense, solved).notes[0].text == "6 of 6 episodes won."
    assert not run(condense, solved, least=1).notes
    unknown = tuple(replace(v, outcome="unknown", checks=()) for v in solved.verdicts)
    assert not run(condense, replace(solved, verdicts=unknown)).notes


def test_an_engine_is_shown_every_episode_with_its_label_and_may_not_give_the_way_away() -> None:
    episode = played()
    scribe = Says(lambda _: "Look into the drawers first.")
    (note,) = run(condense, episode, World({"scribe": scribe}), role="scribe").notes
    assert note.text == "Look into the drawers first." and note.call is not None
    asked = scribe.asked[0].messages[-1].content
    assert asked.count("Episode ") == 6 and asked.count(", won:") == sum(v.outcome == "pass" for v in episode.verdicts)
    secret = replace(episode, problem=replace(episode.problem, solution=("polish the golden statue",)))
    told = Says(lambda _: "You must polish the golden statue.")
    made = run(condense, secret, World({"scribe": told}), role="scribe")
    assert not made.notes and [d.code for d in made.drops] == ["leak"]


def test_checks_that_nobody_knows_are_not_called_unmet() -> None:
    episode = played()
    check = (Check(name="door", outcome="unknown"),)
    hazy = replace(episode, verdicts=tuple(replace(v, checks=check) for v in episode.verdicts))
    assert "Not met" not in run(condense, hazy).notes[0].text
