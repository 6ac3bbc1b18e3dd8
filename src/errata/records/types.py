"""The records: frozen, typed and append-only. A stage returns new ones; none is ever edited.

They are msgspec Structs (`msgspec.structs.replace` makes a changed copy): an attempt of ten steps is made in a
microsecond, and the collector of cycles never walks them, of which a run holds millions.

Lists are tuples, absence is None, free-form data is confined to `Problem.meta`. Every index is 0-based. The Arrow
schemas and the JSON Schemas in `schemas/` are derived from these types.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from msgspec import Struct
from msgspec.structs import replace

T = TypeVar("T")

FORMAT_VERSION = 1
"""Raised when a stored record changes its fields or their meaning."""

Outcome = Literal["pass", "fail", "unknown"]
StepRole = Literal[
    "reasoning", "action", "observation", "reflection", "correction", "critique", "answer", "marker", "feedback",
    "thought", "tail",
]  # fmt: skip
"""`thought`: an earlier attempt that a later one was shown; `tail`: what a cut took off and kept as context."""
StepSource = Literal["student", "teacher", "injector", "environment", "template", "rollout"]
AttemptKind = Literal[
    "sampled", "forked", "injected", "revised", "spliced", "hinted", "truncated", "expert", "search", "rollout",
    "replayed",
]  # fmt: skip
"""`hinted`: made by a student that was shown what it will not see when it is trained (a reference answer); `replayed`:
an agent's words with what the world really answers to them."""
CritiqueSource = Literal[
    "gold",
    "forks",
    "judge",
    "teacher",
    "student",
    "critic",
    "meta",
    "comparison",
    "arithmetic",
    "label",
    "control",
    "verifier",
]
"""Who or what locates or criticises. `meta` sums other critics up, `comparison` sets two attempts side by side,
`control` is wrong on purpose: what a critique is measured against; `verifier` repeats the evidence of a verdict."""
WORDED = ("teacher", "student", "critic", "judge", "meta")
"""Sources of critiques in words, by engines or people; the others only say where, or are wrong on purpose."""
Finish = Literal["stop", "length", "filter"]
SORTERS = ("filter", "scrub", "close_loop", "replay")
"""Verifiers whose verdict is no truth about a record: whether it is fit to be exported."""
Transition = Literal["wrong_to_right", "right_to_right", "right_to_wrong", "wrong_to_wrong", "none"]


class Tag(Struct, frozen=True, kw_only=True, gc=False):
    """A named label, e.g. the kind of an error or the group of a sample; corpus operations balance over them."""

    name: str
    value: str


class Message(Struct, frozen=True, kw_only=True, gc=False):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Task(Struct, frozen=True, kw_only=True, gc=False):
    """A task in a text world (errata.environments): all that it takes to play it again."""

    world: str
    """Name of the environment in the registry."""
    spec: str
    """What `reset` is given, as canonical JSON: a whole description of a built-in world, else level and seed."""
    version: int = 1
    """Of the environment that made it: another may answer the same actions in another way."""
    success: float = 1.0
    """The least reward that counts as solved."""


class Problem(Struct, frozen=True, kw_only=True, gc=False):
    """A task with a way to check answers."""

    id: str
    messages: tuple[Message, ...]
    """The prompt; usually one user turn."""
    verifier: str
    """Name of the verifier that judges attempts at this problem."""
    answer: str | None = None
    """The reference answer: privileged."""
    solution: tuple[str, ...] = ()
    """Gold steps, the answer last: privileged. Empty where there are none."""
    domain: str = ""
    split: str = "train"
    source: str = ""
    licence: str = ""
    origin: str = ""
    """Where the problem came from, e.g. the file's name and line."""
    meta: str = "{}"
    """Free-form JSON. Verifiers may read it, stages may not."""
    task: Task | None = None
    """Where the problem is to be acted on: attempts are then trajectories, an action and an observation by turns."""

    @property
    def text(self) -> str:
        """The prompt as one text."""
        return "\n\n".join(m.content for m in self.messages)


class Step(Struct, frozen=True, kw_only=True, gc=False):
    """A piece of an attempt. The texts of an attempt's steps, joined, are its text, character for character."""

    text: str
    role: StepRole = "reasoning"
    source: StepSource = "student"
    train: bool = True
    """Whether the loss covers this step."""
    weight: float = 1.0
    turn: int = 0
    """Turn of the conversation that the step belongs to: even turns are the assistant's, odd ones the user's."""


class Injection(Struct, frozen=True, kw_only=True, gc=False):
    """What was changed to make an error on purpose."""

    kind: str
    step: int
    original: str


class Call(Struct, frozen=True, kw_only=True, gc=False):
    """The exchange with an engine that made an artefact; `key` finds it in the journal."""

    role: str
    engine: str
    model: str
    revision: str
    key: str
    seed: int
    temperature: float
    top_p: float
    max_tokens: int
    template: str
    """Name and digest of the prompt file, or empty where the problem's own messages were sent."""
    prompt_tokens: int
    completion_tokens: int
    finish: Finish


class Attempt(Struct, frozen=True, kw_only=True, gc=False):
    """One try at the problem: sampled, forked from a prefix, injected, revised or spliced."""

    id: str
    stage: str
    """Name of the recipe's step that made it."""
    index: int
    """Number among the attempts that the stage made from the same parent, from 0."""
    kind: AttemptKind
    steps: tuple[Step, ...]
    parent: str | None = None
    """The attempt that this one revises, forks or splices."""
    other: str | None = None
    """For a splice: the attempt that the correction was taken from."""
    fork_step: int | None = None
    """First step that differs from the parent."""
    critique: str | None = None
    """The critique that its maker saw."""
    style: str = ""
    """How a splice joins its parts."""
    complete: bool = True
    """False if the answer was cut by its length limit: it is never taken for a whole one."""
    injection: Injection | None = None
    call: Call | None = None
    seen: tuple[str, ...] = ()
    """Privileged context that its maker saw: reference answer, gold_steps, first_error, ..."""
    tags: tuple[Tag, ...] = ()
    calls: tuple[Call, ...] = ()
    """For a trajectory, which many exchanges made: those of its turns, in order; `call` is then None."""
    logprobs: tuple[float, ...] = ()
    """Where they were asked for: natural logarithms of the maker's own probabilities (temperature 1) of the tokens that
    it sampled, in order, end-of-turn token included; a prefix that it continued has none."""

    @property
    def text(self) -> str:
        """The text of all steps, turns and all."""
        return "".join([s.text for s in self.steps])

    @property
    def final_text(self) -> str:
        """The text of the last turn: what a verifier judges."""
        last = max([s.turn for s in self.steps], default=0)
        return "".join([s.text for s in self.steps if s.turn == last])


class Finding(Struct, frozen=True, kw_only=True, gc=False):
    """One atomic remark of a critique: a flaw, how bad it is, and what to do about it."""

    step: int | None = None
    """The step that it is about; None where it is about the whole."""
    quote: str = ""
    """The words of the attempt that it is about."""
    kind: str = ""
    severity: str = ""
    text: str = ""
    advice: str = ""
    valid: Outcome = "unknown"
    """What a meta-critic says of it; unknown where none was asked."""
    critic: str = ""
    """The critique that it was first made in, where another one holds it."""


class Critique(Struct, frozen=True, kw_only=True, gc=False):
    """What somebody says of an attempt, and where the attempt first goes wrong."""

    id: str
    attempt: str
    stage: str
    index: int
    source: CritiqueSource
    verdict: Literal["error", "no_error", "unknown"]
    """`no_error` is an answer; `unknown` means that no answer could be read or found."""
    first_error: int | None = None
    """Index of the first wrong step; equal to the number of steps where the attempt stops too early."""
    steps: tuple[Outcome, ...] = ()
    """What it says of each step, where it says so."""
    findings: tuple[Finding, ...] = ()
    of: tuple[str, ...] = ()
    """The critiques that it sums up."""
    text: str = ""
    call: Call | None = None
    seen: tuple[str, ...] = ()
    tags: tuple[Tag, ...] = ()


class Note(Struct, frozen=True, kw_only=True, gc=False):
    """A text that is neither an attempt nor a critique: a plan, a guideline, a thought template, a checklist."""

    id: str
    about: str
    """The episode, attempt or critique that it is about."""
    stage: str
    index: int
    kind: str
    text: str
    call: Call | None = None
    seen: tuple[str, ...] = ()


class Pair(Struct, frozen=True, kw_only=True, gc=False):
    """A preference between two attempts at one problem, or between two critiques of one attempt."""

    id: str
    stage: str
    index: int
    rule: str
    """Why one is preferred: outcome, revision, score, ..."""
    chosen: str
    rejected: str
    step: int | None = None
    """Where both share their first steps and are compared from there on: the first step that differs."""
    margin: float | None = None
    """By how much the chosen one is better, in the rule's own unit."""
    tags: tuple[Tag, ...] = ()


class Check(Struct, frozen=True, kw_only=True, gc=False):
    """One named part of a verdict."""

    name: str
    outcome: Outcome
    detail: str = ""


class Verdict(Struct, frozen=True, kw_only=True, gc=False):
    """What a verifier or filter says of an attempt or critique. Unknown is never wrong."""

    target: str
    stage: str
    verifier: str
    version: int
    outcome: Outcome
    score: float | None = None
    checks: tuple[Check, ...] = ()
    evidence: str = ""


class Estimate(Struct, frozen=True, kw_only=True, gc=False):
    """A measured number about an attempt, critique or pair."""

    target: str
    stage: str
    name: str
    value: float
    n: int
    """Samples behind the value."""
    step: int | None = None
    engine: str = ""


class Drop(Struct, frozen=True, kw_only=True, gc=False):
    """Something that went no further, and why. Nothing is dropped without one."""

    episode: str
    stage: str
    code: str
    kind: Literal["filtered", "quarantined"]
    """Filtered by a rule, or quarantined because something failed."""
    target: str
    """The episode itself, or the attempt, critique or row that was dropped."""
    detail: str = ""


class Additions(Struct, frozen=True, kw_only=True, gc=False):
    """What a stage gives back: new records, and drops. A drop whose target is the episode ends it."""

    attempts: tuple[Attempt, ...] = ()
    critiques: tuple[Critique, ...] = ()
    notes: tuple[Note, ...] = ()
    pairs: tuple[Pair, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    estimates: tuple[Estimate, ...] = ()
    drops: tuple[Drop, ...] = ()


class Episode(Struct, frozen=True, kw_only=True, gc=False):
    """One problem and everything that happened to it."""

    problem: Problem
    attempts: tuple[Attempt, ...] = ()
    critiques: tuple[Critique, ...] = ()
    notes: tuple[Note, ...] = ()
    pairs: tuple[Pair, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    estimates: tuple[Estimate, ...] = ()

    @property
    def id(self) -> str:
        return self.problem.id

    def add(self, new: Additions) -> "Episode":
        """This episode and `new`, in an order that depends on names alone, so that branches merge in any order."""
        return replace(
            self,
            attempts=_union(self.attempts, new.attempts, lambda a: (a.stage, a.parent or "", a.index, a.id)),
            critiques=_union(self.critiques, new.critiques, lambda c: (c.stage, c.attempt, c.index, c.id)),
            notes=_union(self.notes, new.notes, lambda n: (n.stage, n.about, n.kind, n.index, n.id)),
            pairs=_union(self.pairs, new.pairs, lambda p: (p.stage, p.index, p.id)),
            verdicts=_union(self.verdicts, new.verdicts, lambda v: (v.stage, v.target, v.verifier)),
            estimates=_union(
                self.estimates, new.estimates, lambda e: (e.stage, e.target, e.name, -1 if e.step is None else e.step)
            ),
        )

    def attempt(self, id: str) -> Attempt:
        """The attempt called `id`; StopIteration if there is none."""
        return next(a for a in self.attempts if a.id == id)

    def verdict(self, target: str, verifier: str | None = None) -> Verdict | None:
        """The first verdict of `verifier` (by default the problem's own) on `target`; None where there is none."""
        wanted = verifier or self.problem.verifier
        for v in self.verdicts:  # in half the time of a generator
            if v.target == target and v.verifier == wanted:
                return v
        return None

    def outcome(self, target: str, verifier: str | None = None) -> Outcome:
        """What `verifier` (by default the problem's own) says of `target`; unknown where it has not been asked."""
        return found.outcome if (found := self.verdict(target, verifier)) else "unknown"

    def critique(self, id: str) -> Critique:
        """The critique called `id`; StopIteration if there is none."""
        return next(c for c in self.critiques if c.id == id)

    def estimate(self, target: str, name: str, step: int | None = None) -> float | None:
        """The number `name` of `target` (of its step), the last stage's by name where several measured it; or None."""
        found = [e.value for e in self.estimates if e.target == target and e.name == name and e.step == step]
        return found[-1] if found else None

    def accepts(self, attempt: Attempt) -> bool:
        """Whether the attempt is whole, passes its verifier and no filter rejects it."""
        return attempt.complete and self.outcome(attempt.id) == "pass" and not self.rejects(attempt.id)

    def rejects(self, target: str) -> bool:
        """Whether a filter, a scrub or another stage that sorts out has turned `target` away."""
        return any(v.target == target and v.verifier in SORTERS and v.outcome != "pass" for v in self.verdicts)


def _union(old: tuple[T, ...], new: tuple[T, ...], key: Callable[[T], tuple[Any, ...]]) -> tuple[T, ...]:
    if not new:
        return old
    merged = {key(x): x for x in old}
    for x in new:
        place = key(x)
        if merged.setdefault(place, x) != x:
            raise ValueError(f"two different records share the coordinates {place}: records are never edited")
    return tuple([merged[k] for k in sorted(merged)])
