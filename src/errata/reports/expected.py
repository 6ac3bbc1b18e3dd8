"""What each stage is expected to ask and make for one episode, if half of all attempts pass: a rule of thumb a stage.

A stage without a line here, such as one of the user's own, is taken to ask nothing and to hand on what it was given.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

HALF = 0.5
STEPS = 6
"""Steps of an attempt before its answer, where a stage works on each."""
TURNS = 10
"""Turns of an agent until an episode ends, unless its limit is less."""


class Expected(NamedTuple):
    """What a stage asks per episode."""

    requests: float
    made: float
    """Attempts, critiques or notes that exist after the stage, of the kind that it makes."""


Before = Mapping[str, Expected]
Rule = Callable[[Mapping[str, Any], Before], Expected]


def expect(stage: str, with_: Mapping[str, Any], before: Before) -> Expected:
    """Requests and artefacts of one stage, by its name; `before` holds those of the steps above it."""
    return RULES.get(stage, _passed)(with_, before)


def _count(with_: Mapping[str, Any], before: Before, name: str = "of") -> float:
    """Artefacts that the steps named by a parameter have made; 1 where it names none that is known."""
    named = with_.get(name) or ()
    steps: Sequence[str] = (named,) if isinstance(named, str) else named
    known = [before[s].made for s in steps if s in before]
    return sum(known) if known else 1.0


def _chosen(with_: Mapping[str, Any], before: Before) -> float:
    """Of what the steps `of` made, those with the outcome that is asked for, at most `most`."""
    share = HALF if with_.get("outcome") in ("fail", "pass") else 1.0
    found = _count(with_, before) * share
    return min(float(with_.get("most") or found), found)


def _passed(with_: Mapping[str, Any], before: Before) -> Expected:
    return Expected(0, _count(with_, before))


def _each(with_: Mapping[str, Any], before: Before) -> Expected:
    many = _chosen(with_, before) * with_.get("n", 1)
    return Expected(many, many)


def _n(with_: Mapping[str, Any], before: Before) -> Expected:
    return Expected(with_["n"], with_["n"])


def _sample(with_: Mapping[str, Any], before: Before) -> Expected:
    many = with_["n"] * (with_["share"][1] - with_["share"][0]) * (HALF if with_["hard"] else 1.0)
    return Expected(many, many)


def _on_notes(with_: Mapping[str, Any], before: Before) -> Expected:
    """On top of each set of earlier notes, which has one of every step; where some may be solved already, of half."""
    known = [before[s].made for s in with_["notes"] if s in before]
    many = min(known, default=1.0) * (with_["n"] if not known else 1)
    many *= HALF if with_["unless"] and not known else 1.0
    return Expected(many, many)


def _correct(with_: Mapping[str, Any], before: Before) -> Expected:
    many = _count(with_, before, "critique") * with_["n"]
    return Expected(many, many)


def _revise(with_: Mapping[str, Any], before: Before) -> Expected:
    many = _count(with_, before, "critique") if with_.get("critique") else _chosen(with_, before)
    return Expected(many * with_["n"], many * with_["n"])


def _fork(with_: Mapping[str, Any], before: Before) -> Expected:
    places = {"all": float(STEPS), "given": float(len(with_["places"]))}.get(with_["at"], float(with_["draws"]))
    many = _chosen(with_, before) * places * with_["n"]
    return Expected(many, many)


def _locate(with_: Mapping[str, Any], before: Before) -> Expected:
    many = _chosen(with_, before)
    if with_["method"] == "judge":
        return Expected(many, many)
    if with_["method"] != "forks":
        return Expected(0, many)
    # The whole, and about log2 of ten steps, or all; adaptively, little more than one dead prefix.
    prefixes = 1.2 if with_["batch"] else 10 if with_["search"] == "scan" else 4
    return Expected(many * with_["forks"] * prefixes, many)


def _inject(with_: Mapping[str, Any], before: Before) -> Expected:
    many = min(with_["n"], _count(with_, before) * HALF) * with_["each"]
    proof = 2 * with_["completions"] if with_["proof"] == "forks" else 0
    return Expected(many * (1 + bool(with_["maker"]) + proof), many)


def _close_loop(with_: Mapping[str, Any], before: Before) -> Expected:
    arms = 1 + bool(with_["placebo"]) + bool(with_["wrong"])
    many = _count(with_, before, "critiques") * HALF * with_["k"] * arms
    return Expected(many, many)


def _scrub(with_: Mapping[str, Any], before: Before) -> Expected:
    many = _count(with_, before)
    return Expected(many * with_["n"] if with_["role"] else 0, many)


def _judge(with_: Mapping[str, Any], before: Before) -> Expected:
    many = _chosen(with_, before)
    shown = many * (many - 1) / 2 if with_["form"] == "pairwise" else many
    return Expected(shown * with_["votes"] * len(with_["roles"]), many)


def _aggregate(with_: Mapping[str, Any], before: Before) -> Expected:
    attempts = _count(with_, before) / max(1, len(with_["of"]))
    return Expected(attempts if with_["method"] == "meta" else 0, attempts)


def _rate(with_: Mapping[str, Any], before: Before) -> Expected:
    return Expected(0, 0) if with_["of"] else Expected(with_["n"], with_["n"])


def _loop(with_: Mapping[str, Any], before: Before) -> Expected:
    # At most: a right state stops most loops early.
    many = _chosen(with_, before) * with_["turns"]
    return Expected(many * (2 if with_.get("critic") else 1), many)


def _search(with_: Mapping[str, Any], before: Before) -> Expected:
    asked = with_["width"] * (1 + with_["beam"] * with_["depth"])
    return Expected(asked, asked)


def _turns(with_: Mapping[str, Any], name: str = "limit") -> float:
    return float(min(with_[name], TURNS))


def _act(with_: Mapping[str, Any], before: Before) -> Expected:
    starts = _chosen(with_, before) if with_["of"] else 1.0
    many = starts * with_["n"] * (with_["share"][1] - with_["share"][0])
    return Expected(many * _turns(with_), many)


def _teach(with_: Mapping[str, Any], before: Before) -> Expected:
    # The agent and its teacher, each a turn.
    many = with_["n"] * (with_["share"][1] - with_["share"][0])
    return Expected(2 * many * _turns(with_), many)


def _tree(with_: Mapping[str, Any], before: Before) -> Expected:
    # A simulation expands one node and goes on alone from there.
    valued = with_["simulations"] * {"rollouts": with_["rollouts"] * TURNS, "engine": 1}.get(with_["value"], 0)
    asked = with_["simulations"] * (with_["width"] + _turns(with_, "depth"))
    return Expected(asked + valued, with_["simulations"])


def _first_error(with_: Mapping[str, Any], before: Before) -> Expected:
    each = {"actor": TURNS, "rollouts": TURNS * with_["rollouts"] * TURNS}.get(with_["source"], 0)
    many = _count(with_, before)
    return Expected(many * HALF * each, many)


def _monologue(with_: Mapping[str, Any], before: Before) -> Expected:
    many = _count(with_, before) * HALF * (with_["states"] or TURNS) * with_["n"]
    return Expected(many, many)


RULES: Mapping[str, Rule] = {
    "sample": _sample, "correct": _correct, "critique": _each, "reflect": _each, "score": _each, "revise": _revise,
    "fork": _fork,
    "locate": _locate, "inject": _inject, "close_loop": _close_loop, "scrub": _scrub, "judge": _judge,
    "aggregate": _aggregate, "rate": _rate, "plan": _on_notes, "hint": _on_notes, "loop": _loop,
    "search": _search, "combine": _n, "act": _act, "teach": _teach, "tree": _tree, "reason": _tree,
    "first_error": _first_error, "monologue": _monologue,
}  # fmt: skip
