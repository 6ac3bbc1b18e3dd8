"""House keeps the contract of worlds; its distance is that of a search which knows nothing of it; what is lost is."""

import math
import random
import re
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings

from errata.environments.base import DEAD_END, Turn
from errata.environments.house import House
from tests.environments import contract

LEVELS = range(1, 9)
FINAL = re.compile(r"throw .* away|drop (?:\w+ )?(?:bowl|mug|plate|vase)")


def house(**entries: Any) -> dict[str, Any]:
    """Two rooms and a locked third one, where the mug is to go; what else is asked for."""
    return {
        "rooms": ["hall", "study", "attic"],
        "doors": [["hall", "study", ""], ["study", "attic", "iron key"]],
        "surfaces": ["hall table", "attic desk"],
        "containers": ["study box"],
        "objects": {"iron key": "study box", "red mug": "hall table"},
        "fragile": ["red mug"],
        "goals": {"red mug": "attic desk"},
        **entries,
    }


def told(played: House, *actions: str) -> list[str]:
    """What the world says to these actions, all of them valid."""
    turns = [played.step(action) for action in actions]
    assert all(turn.valid for turn in turns), turns
    return [turn.observation for turn in turns]


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_the_contract(check: contract.Check) -> None:
    check(House, LEVELS)


def test_an_episode_reads_like_this() -> None:
    played = House()
    assert played.reset(house()) == ("Goal: put the red mug in the attic desk.\nhall. table: red mug. doors: study.")
    said = told(
        played,
        "take red mug from table",
        "go to study",
        "open box",
        "look",
        "Take the iron key from the study box.",
        "unlock attic with iron key",
        "go to attic",
        "inventory",
        "undo",
        "go to attic",
        "put red mug on desk",
    )
    assert said == [
        "you take red mug.",
        "study. box: closed. doors: attic locked, hall.",
        "box: iron key.",
        "study. box: iron key. doors: attic locked, hall.",
        "you take iron key.",
        "attic unlocked.",
        "attic. desk: nothing. doors: study.",
        "you hold iron key, red mug.",
        "undone: go to attic.",
        "attic. desk: nothing. doors: study.",
        "you put red mug in desk. solved.",
    ]


REFUSED = {
    "": "not understood.",
    "dance": "not understood.",
    "look up": "not understood.",
    "throw red mug": "not understood.",
    "undo": "nothing to undo.",
    "go to attic": "no such door here.",
    "unlock study with iron key": "study is not locked.",
    "open table": "table does not open.",
    "open box": "no such place here.",
    "take iron key from table": "that is not there.",
    "put red mug in table": "you do not hold that.",
    "drop red mug": "you do not hold that.",
}


@pytest.mark.parametrize("action", REFUSED)
def test_what_cannot_be_done_is_refused_with_a_reason(action: str) -> None:
    assert contract.begun(House, house()).step(action) == Turn(
        observation=REFUSED[action], reward=0.0, valid=False, changed=False
    )


def test_doors_and_containers_hold_what_they_should() -> None:
    objects = {"iron key": "study box", "red mug": "hall table", "brass key": "hall table"}
    played = contract.begun(House, house(objects=objects), ["take brass key from table", "go to study"])
    assert played.step("go to attic").observation == "attic is locked."
    assert played.step("unlock attic with iron key").observation == "you do not hold that."
    assert played.step("unlock attic with brass key").observation == "brass key does not fit."
    assert played.step("take iron key from box").observation == "box is closed."
    assert played.step("put brass key in box").observation == "box is closed."
    assert played.step("close box").observation == "box is closed."
    told(played, "open box", "drop brass key", "take iron key from box", "close box")
    assert played.step("look").observation == "study. box: closed. floor: brass key. doors: attic locked, hall."
    assert "take brass key from floor" in played.valid_actions()
    assert not played.step("put iron key in floor").valid


@pytest.mark.parametrize("action", ["throw iron key away", "throw red mug away", "drop red mug"])
def test_what_is_lost_for_good_ends_the_episode(action: str) -> None:
    taken = ["take red mug from table", "go to study", "open box", "take iron key from box"]
    played = contract.begun(House, house(), taken)
    turn = played.step(action)
    assert (turn.done, turn.reward, turn.valid, turn.changed) == (True, 0.0, True, True)
    assert turn.observation.endswith(" the goal is lost.")
    assert played.distance() == DEAD_END and played.gold_actions() is None and played.valid_actions() == ()
    assert played.checks() == {
        "red mug in attic desk": False,
        "nothing broken": not action.startswith("drop"),
        "nothing thrown away": not action.startswith("throw"),
    }
    again = House()
    again.restore(played.snapshot())
    for ended in (played, again):
        assert (
            ended.step("undo")
            == ended.step("look")
            == Turn(observation="the episode is over.", reward=0.0, done=True, valid=False, changed=False)
        )


def test_what_is_not_needed_may_be_lost_but_not_well_conducted() -> None:
    taken = ["take red mug from table", "go to study", "open box", "take iron key from box"]
    played = contract.begun(House, house(), [*taken, "unlock attic with iron key"])
    before = played.distance()
    turn = played.step("throw iron key away")
    assert not turn.done and played.distance() == before
    assert not played.step("undo").valid, "nor what came before"
    told(played, "go to attic", "undo", *(played.gold_actions() or ()))
    assert played.checks() == {"red mug in attic desk": True, "nothing broken": True, "nothing thrown away": False}


def edges(spec: dict[str, Any]) -> dict[Any, dict[str, tuple[Any, Turn]]]:
    """All states that actions other than `undo` reach, and where each leads, by playing alone."""
    played = contract.begun(House, spec)
    first = played.snapshot()
    found: dict[Any, dict[str, tuple[Any, Turn]]] = {}
    queue = deque([first[1]])
    while queue:
        state = queue.popleft()
        if state in found:
            continue
        found[state] = {}
        played.restore((first[0], state, ()))
        for action in played.valid_actions():
            played.restore((first[0], state, ()))
            turn = played.step(action)
            found[state][action] = (played.snapshot()[1], turn)
            queue.append(found[state][action][0])
    return found


def fewest(graph: dict[Any, dict[str, tuple[Any, Turn]]]) -> dict[Any, float]:
    """The distance of every state to the nearest that pays, walked backwards."""
    before: dict[Any, list[Any]] = {}
    for state, out in graph.items():
        for far, _ in out.values():
            before.setdefault(far, []).append(state)
    lengths = {far: 0.0 for out in graph.values() for far, turn in out.values() if turn.reward == 1.0}
    queue = deque(lengths)
    while queue:
        state = queue.popleft()
        for near in before[state]:
            if near not in lengths:
                lengths[near] = lengths[state] + 1
                queue.append(near)
    return lengths


SMALL = {
    "one lock": house(),
    "two goals": house(
        rooms=["hall", "study"],
        doors=[["hall", "study", ""]],
        surfaces=["hall table"],
        objects={"blue hat": "study box", "red mug": "hall table"},
        goals={"red mug": "study box", "blue hat": "hall table"},
    ),
    "a lock behind a lock": house(
        doors=[["hall", "study", "brass key"], ["hall", "attic", "iron key"]],
        objects={"brass key": "hall table", "iron key": "study box", "red mug": "study box"},
    ),
    "apart": house(
        rooms=["hall", "study", "attic", "porch"],
        doors=[["hall", "study", ""], ["attic", "hall", ""], ["study", "porch", ""]],
        surfaces=["attic desk", "porch bench"],
        objects={"hat": "attic desk", "red mug": "study box"},
        goals={"red mug": "attic desk", "hat": "porch bench"},
    ),
}


@pytest.mark.parametrize("name", SMALL)
def test_the_distance_of_every_state_is_that_of_a_search_through_all(name: str) -> None:
    spec = SMALL[name]
    graph = edges(spec)
    lengths = fewest(graph)
    played = contract.begun(House, spec)
    kept = played.snapshot()[0]
    lost = 0
    for state, out in graph.items():
        played.restore((kept, state, ()))
        distance = lengths.get(state, math.inf)
        assert played.distance() == distance
        lost += distance == DEAD_END
        for action, (far, _) in out.items():
            if not FINAL.fullmatch(action):
                assert lengths.get(state, math.inf) + 1 >= lengths.get(far, math.inf), "to undo is no shorter way"
    assert len(graph) > 100 and 0 < lost < len(graph)


@settings(max_examples=60)
@given(contract.seeds, contract.walks)
def test_undo_takes_back_whatever_can_be(seed: int, picks: list[int]) -> None:
    spec = House.generate(random.Random(seed), 1 + seed % 5)
    played = contract.begun(House, spec)
    contract.walk(played, picks)
    here = played.snapshot()
    before = contract.view(played)
    for action in played.valid_actions():
        played.restore(here)
        turn = played.step(action)
        if action == "undo" or not turn.changed or turn.reward == 1.0:
            continue
        undone = played.step("undo")
        if FINAL.fullmatch(action):
            assert not undone.valid and not undone.changed
        else:
            assert undone.valid and undone.changed and undone.observation == f"undone: {action}."
            assert contract.view(played) == before


def test_a_world_that_knew_the_way_in_one_house_asks_anew_in_another() -> None:
    played = contract.begun(House, house())
    kept = played.snapshot()
    nearer = house(surfaces=["hall table", "attic desk", "hall shelf"], goals={"red mug": "hall shelf"})
    other = contract.begun(House, nearer)
    assert other.snapshot()[1] == kept[1] and other.distance() == 2
    other.restore(kept)
    assert other.distance() == played.distance() == 7


def test_undo_goes_back_to_the_beginning() -> None:
    spec = House.generate(random.Random(4), 5)
    played = contract.begun(House, spec)
    views = [contract.view(played)]
    gold = played.gold_actions() or ()
    for action in gold[:-1]:
        told(played, action)
        views.append(contract.view(played))
    for view in reversed(views):
        assert contract.view(played) == view
        assert played.step("undo").valid == (view is not views[0])


def parsed(spec: dict[str, Any], room: str) -> Iterator[str]:
    """Every action in canonical form that names things of this house, whether allowed or not."""
    yield from ("look", "inventory", "undo")
    things = [*spec["objects"], "moon"]
    places = [p.split()[1] for p in (*spec["surfaces"], *spec["containers"]) if p.startswith(f"{room} ")] + ["floor"]
    for far in spec["rooms"]:
        yield f"go to {far}"
        yield from (f"unlock {far} with {thing}" for thing in things)
    for place in places:
        yield from (f"open {place}", f"close {place}")
        for thing in things:
            yield from (f"take {thing} from {place}", f"put {thing} in {place}")
    for thing in things:
        yield from (f"drop {thing}", f"throw {thing} away")


@settings(max_examples=60)
@given(contract.seeds, contract.walks)
def test_valid_actions_are_all_that_are_allowed(seed: int, picks: list[int]) -> None:
    spec = House.generate(random.Random(seed), 1 + seed % 4)
    played = contract.begun(House, spec)
    contract.walk(played, picks)
    here = played.snapshot()
    allowed = set()
    for action in parsed(spec, here[1].room):
        played.restore(here)
        if played.step(action).valid:
            allowed.add(action)
    played.restore(here)
    assert allowed == set(played.valid_actions())


def test_nothing_is_seen_before_its_room_is_entered_and_its_container_opened() -> None:
    for spec in contract.specs(House, LEVELS, 4):
        played = House()
        room = spec["rooms"][0]
        here = {
            thing for thing, place in spec["objects"].items() if place in spec["surfaces"] and place.startswith(room)
        }
        seen = played.reset(spec).split("\n", 1)[1]
        assert {thing for thing in spec["objects"] if thing in seen} == here


def test_words_are_few_and_observations_short() -> None:
    """What a small model with a word a token can learn: 100 words, and 20 actions with what is said in 450 of them."""
    words: set[str] = set()
    for spec in contract.specs(House, LEVELS, 12):
        played = House()
        texts = [played.reset(spec)]
        for action in played.gold_actions() or ():
            texts += [action, played.step(action).observation]
        split = [re.findall(r"\w+|[^\w\s]", text) for text in texts]
        words.update(*split)
        assert max(map(len, split[1:])) <= 45
        assert sum(map(len, split[:41])) <= 450
        assert texts[0].replace("Goal", "goal") == texts[0].replace("Goal", "goal").lower()
        assert all(text == text.lower() for text in texts[1:])
    assert len(words) <= 100


WRONG = {
    "no goal": {"goals": {}},
    "done already": {"goals": {"red mug": "hall table"}},
    "a goal that nothing reaches": {"objects": {"iron key": "attic desk", "red mug": "hall table"}},
    "a goal of no object": {"goals": {"moon": "attic desk"}},
    "a goal of no place": {"goals": {"red mug": "attic floor"}},
    "a goal that is a key": {"goals": {"iron key": "study box", "red mug": "attic desk"}},
    "an object nowhere": {"objects": {"iron key": "study box", "red mug": "garage table"}},
    "no key": {"objects": {"red mug": "hall table"}},
    "a key that breaks": {"fragile": ["iron key"]},
    "one key for two doors": {"doors": [["hall", "study", "iron key"], ["study", "attic", "iron key"]]},
    "keys behind each other's doors": {
        "doors": [["hall", "study", "brass key"], ["hall", "attic", "iron key"]],
        "objects": {"brass key": "attic desk", "iron key": "study box", "red mug": "hall table"},
    },
    "rooms apart": {"doors": [["hall", "study", ""]]},
    "a ring of rooms": {"doors": [["hall", "study", ""], ["study", "attic", "iron key"], ["hall", "attic", ""]]},
    "a door to itself": {"doors": [["hall", "study", ""], ["attic", "attic", "iron key"]]},
    "a door to nowhere": {"doors": [["hall", "study", ""], ["study", "garage", "iron key"]]},
    "a room twice": {"rooms": ["hall", "study", "attic", "hall"]},
    "no room": {"rooms": []},
    "furniture twice": {"containers": ["study box", "hall table"]},
    "furniture in no room": {"surfaces": ["hall table", "attic desk", "garage table"]},
    "furniture called floor": {"surfaces": ["hall table", "attic desk", "hall floor"]},
    "a word of the grammar": {
        "objects": {"iron key": "study box", "red mug": "hall table", "hat in box": "hall table"}
    },
    "upper case": {"objects": {"iron key": "study box", "red mug": "hall table", "Hat": "hall table"}},
    "an unknown entry": {"garden": []},
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_house_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"no house|no task"):
        House().reset(house(**WRONG[name]))


def test_there_is_no_difficulty_below_one() -> None:
    with pytest.raises(ValueError, match="use 1 or more"):
        House.generate(random.Random(0), 0)


def test_a_higher_difficulty_takes_more_actions() -> None:
    means = [
        sum(contract.begun(House, spec).distance() or 0 for spec in contract.specs(House, [level], 100)) / 100
        for level in range(1, 7)
    ]
    assert means == sorted(means) and means[-1] > 3 * means[0]
