"""Programs that know text worlds and answer as an agent or its teacher would: one without fault, one with known faults.

They read the conversation and the task that it is about. What is asked is told from the last user turn: a last line
that holds the phrase of a task (errata.engines.experts) wants that, and everything else the next action.
"""

import json
import random
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from errata.engines import experts
from errata.engines.base import Identity, Reply, Request
from errata.engines.code import code_digest
from errata.engines.experts import Asked, task_for
from errata.engines.logprobs import refuse
from errata.engines.phrases import replied
from errata.environments.hosts import Session, Worlds
from errata.errors import EngineError, RecipeError
from errata.records import trajectory
from errata.records.ids import canonical, seed
from errata.records.trajectory import action_of
from errata.records.types import Task
from errata.registry import engine

Slip = Literal["wrong_object", "skipped_precondition", "loop", "premature_stop"]
SLIPS: tuple[Slip, ...] = ("wrong_object", "skipped_precondition", "loop", "premature_stop")
REMEMBERED = 512
"""Episodes under way that are kept, so that the next turn of one need not be played from its beginning."""


@engine(version=1, name="expert")
class Expert:
    """An agent that goes the world's shortest way, and a teacher that knows it; `skill` is its share of good replies.

    The other requests, chosen by a hash of their seeds, get a plausible wrong answer. With `thoughts`, an action comes
    after a line of thought. Raises `EngineError` with code `expert_cannot` where the problem is no task in a world.
    """

    seen: tuple[str, ...] = ("gold_steps",)

    def __init__(self, *, skill: float = 1.0, thoughts: bool = False) -> None:
        if not 0 <= skill <= 1:
            raise RecipeError(f"expert: skill is {skill}, but it is a share: use a number from 0 to 1")
        self._skill, self._thoughts = skill, thoughts
        self._slips: tuple[Slip, ...] = ("wrong_object",)
        self._worlds = Worlds()
        self._known: OrderedDict[tuple[Task, tuple[str, ...]], Session] = OrderedDict()

    @property
    def identity(self) -> Identity:
        return Identity(
            engine="expert",
            version=1,
            model="expert:worlds",
            revision=code_digest(trajectory, __file__, *experts.files()),
            detail=canonical({"skill": self._skill, "thoughts": self._thoughts, "slips": list(self._slips)}),
            licence="Apache-2.0",
            worldly=True,
        )

    async def generate(self, request: Request) -> Reply:
        """Answer at once; tokens are counted as words."""
        refuse(request, "the expert, a program,")
        task = request.task
        if task is None:
            raise EngineError("expert_cannot", "the problem is no task in a world: the expert knows worlds alone")
        # Two hashes of one seed, so that how an answer is wrong does not depend on how likely it was to be.
        well = seed(expert="skill", seed=request.seed) / 2**63 < self._skill
        rng = random.Random(seed(expert="answer", seed=request.seed))

        async def after(actions: Sequence[str]) -> Session:
            return await self._after(task, tuple(actions))

        rules = json.loads(request.schema) if request.schema else {}
        asked = Asked(task=task, messages=request.messages, schema=rules, well=well, rng=rng, after=after)
        named = task_for(asked.text)
        said = await named(asked) if named else await self._act(asked)
        return replied(request, said if isinstance(said, str) else canonical(dict(said)))

    async def _act(self, asked: Asked) -> str:
        session = await self._played(asked)
        gold = await session.gold_actions()
        if not gold:
            options = await session.valid_actions()
            gold = (asked.rng.choice(options),) if options else ("stop",)
        action = gold[0] if asked.well else await self._slip(session, gold, asked.rng)
        if not self._thoughts:
            return action
        left = f"{len(gold)} more action{'s' if len(gold) > 1 else ''}" if asked.well else "a few more actions"
        return f"Thought: the goal should take {left}. Next: {action}.\nAction: {action}"

    async def _slip(self, session: Session, gold: Sequence[str], rng: random.Random) -> str:
        """An action that is not the best one, of one of the kinds of error."""
        options = [a for a in await session.valid_actions() if a != gold[0]]
        verb = gold[0].split()[0]
        for kind in rng.sample(self._slips, len(self._slips)):
            if kind == "premature_stop":
                return "stop"
            if kind == "loop" and session.actions:
                return rng.choice(session.actions[-2:])
            if kind == "skipped_precondition" and len(gold) > 1:
                return gold[1]
            same = [a for a in options if a.split()[0] == verb]
            if kind == "wrong_object" and (same or options):
                return rng.choice(same or options)
        return rng.choice(options) if options else gold[0]

    async def _played(self, asked: Asked) -> Session:
        """The world where the conversation stands. A turn whose answer is not the world's own was not played."""
        done: tuple[str, ...] = ()
        turns = [m for m in asked.messages if m.role != "system"]
        for said, answer in pairwise(turns):
            if said.role == "assistant" and answer.role == "user":
                session = await self._after(asked.task, (*done, action_of(said.content)))
                if session.turns[-1].observation == answer.content:
                    done = session.actions
        return await self._after(asked.task, done)

    async def _after(self, task: Task, actions: tuple[str, ...]) -> Session:
        """The world after these actions; it is played on from the same episode one action ago, where that is known."""
        key = (task, actions)
        if key not in self._known:
            before = self._known.pop((task, actions[:-1]), None) if actions else None
            if before is None:
                self._known[key] = await self._worlds.open(task, actions)
            else:
                await before.step(actions[-1])
                self._known[key] = before
            while len(self._known) > REMEMBERED:
                _, oldest = self._known.popitem(last=False)
                await oldest.close()
        self._known.move_to_end(key)
        return self._known[key]

    async def close(self) -> None:
        """End the worlds."""
        self._known.clear()
        await self._worlds.close()


@engine(version=1, name="noisy")
class Noisy(Expert):
    """The expert with errors: at a share `rate` of its turns it makes one of `errors`, chosen by the request's seed.

    `wrong_object` is another action with the same verb, `skipped_precondition` the action after the next, `loop` one of
    the last two again, `premature_stop` the end of the episode.
    """

    def __init__(self, *, rate: float = 0.2, errors: tuple[Slip, ...] = SLIPS, thoughts: bool = False) -> None:
        super().__init__(skill=1 - rate, thoughts=thoughts)
        if unknown := set(errors) - set(SLIPS):
            raise RecipeError(f"noisy: errors names {', '.join(sorted(unknown))}: there are {', '.join(SLIPS)}")
        self._slips = errors
