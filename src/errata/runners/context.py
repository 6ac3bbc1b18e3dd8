"""What stages see of the world: engines by role, verifiers and prompts, bound to one step of one recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from msgspec.structs import replace

from errata import registry
from errata.engines.base import Identity, Reply, Request, Sampling
from errata.engines.foresight import Foresight
from errata.engines.journal import Journaled
from errata.engines.repetition import looped
from errata.environments.hosts import Session, Worlds
from errata.environments.processes import Hosted
from errata.errors import EngineError, WorldError
from errata.prompts import Prompt
from errata.records.ids import canonical
from errata.records.types import Call, Episode, Message, Problem, Task
from errata.registry import Component
from errata.runners.plan import Plan
from errata.stages.base import Answer, Scored
from errata.verifiers.base import Judgement
from errata.verifiers.pool import Judges


class Tools:
    """What all steps of a worker share."""

    def __init__(self, plan: Plan, engines: Mapping[str, Journaled], pool: Judges, worlds: Worlds) -> None:
        self.plan, self.engines, self.pool, self.worlds = plan, engines, pool, worlds
        self.foresight = Foresight(plan.steps, plan.before)
        self._verifiers: dict[str, Component] = {}
        self._prompts: dict[str, Prompt] = {}

    def verifier(self, name: str) -> Component:
        """The verifier called `name`, found once."""
        if name not in self._verifiers:
            self._verifiers[name] = registry.find("verifier", name, self.plan.folder)
        return self._verifiers[name]

    def prompt(self, name: str) -> Prompt:
        """The prompt called `name`, loaded once."""
        if name not in self._prompts:
            self._prompts[name] = self.plan.prompt(name)
        return self._prompts[name]


@dataclass
class StepContext:
    """The context of one step; see errata.stages.base.Context."""

    stage: str
    run_seed: int
    tools: Tools
    episode: Episode | None = None
    """As it entered the step; None where nothing is to be foreseen."""
    requests: int = 0
    """Replies that the step wanted, from the journal or an engine."""
    opened: set[Hosted] = field(default_factory=set)
    """Sessions of worlds, forks too, that hold something until they are closed."""

    @cached_property
    def urgency(self) -> float:
        """That of the step's requests; most steps have none, and it takes microseconds."""
        return self.tools.foresight.urgency(self.stage, self.episode) if self.episode else 0.0

    async def ask(
        self,
        role: str,
        messages: Sequence[Message],
        *,
        seed: int,
        template: str = "",
        schema: str = "",
        sampling: Mapping[str, Any] = {},
        logprobs: bool = False,
    ) -> Answer:
        """One reply of the engine that plays `role`, journaled."""
        plan, engine = self.tools.plan, self.tools.engines[role]
        spec = plan.recipe.engines[role]
        drawn = replace(plan.sampling[role], **sampling) if sampling else plan.sampling[role]
        wanted = schema or (canonical(dict(spec.schema)) if spec.schema else "")
        request = Request(
            messages=self._led(role, messages), sampling=drawn, seed=seed, schema=wanted, logprobs=logprobs,
            urgency=self.urgency, task=self._task(engine),
        )  # fmt: skip
        self.requests += 1
        key, reply = await engine.generate(request)
        if reply.finish == "filter":
            raise EngineError("refusal", f"{engine.identity.model} refused to answer")
        if circles := looped(reply.text):
            raise EngineError("loop", f"{engine.identity.model} went round in circles: {circles}")
        if logprobs and not reply.logprobs and reply.completion_tokens and "logprobs_dropped" not in reply.flags:
            raise EngineError("no_logprobs", f"{engine.identity.model} gave no log-probabilities of what it sampled")
        call = _call(role, engine.identity, key, request, reply, template)
        self.tools.foresight.learn(self.stage, reply.completion_tokens)
        return Answer(reply.text, reply.finish == "stop", call, engine.seen, reply.logprobs)

    async def score(self, role: str, messages: Sequence[Message]) -> Scored:
        """The log-probabilities of the assistant's last message under the engine that plays `role`, journaled."""
        engine = self.tools.engines[role]
        # Sampling and seed mean nothing here; one of each, so that no message is scored twice.
        request = Request(
            messages=self._led(role, messages), sampling=Sampling(max_tokens=1), seed=0, score=True,
            urgency=self.urgency,
        )  # fmt: skip
        self.requests += 1
        key, reply = await engine.generate(request)
        if not reply.logprobs or len(reply.logprobs) != len(reply.tokens):
            raise EngineError("no_logprobs", f"{engine.identity.model} gave no log-probabilities of a message")
        return Scored(reply.tokens, reply.logprobs, _call(role, engine.identity, key, request, reply))

    def _task(self, engine: Journaled) -> Task | None:
        """The world that the episode acts in, for an engine that knows worlds."""
        task = self.episode.problem.task if self.episode else None
        return task if task and engine.identity.worldly else None

    async def world(self, problem: Problem, actions: Sequence[str] = ()) -> Session:
        """A session of the problem's world after these actions."""
        if problem.task is None:
            raise WorldError("no_world", "the problem is no task in a world: take a source such as `worlds`")
        return await self.tools.worlds.open(problem.task, actions, self.opened)

    async def close(self) -> None:
        """The step has ended: free the worlds that it left open."""
        for session in tuple(self.opened):
            await session.close()

    def _led(self, role: str, messages: Sequence[Message]) -> tuple[Message, ...]:
        """The messages after the role's system prompt, where it has one and they have none."""
        system = self.tools.plan.recipe.engines[role].system
        if system and messages[0].role != "system":
            return (Message(role="system", content=system), *messages)
        return tuple(messages)

    async def judge(
        self, problem: Problem, text: str, verifier: str = "", options: Mapping[str, Any] = {}
    ) -> Judgement:
        """Inline where the verifier is cheap; else in the pool, with a deadline."""
        name = verifier or problem.verifier
        component = self.tools.verifier(name)
        if not component.inline:
            return await self.tools.pool.judge(name, self.tools.plan.folder, problem, text, options)
        try:
            judged: Judgement = component.make(problem, text, **options)
        except Exception as error:  # a verifier of the user's: its failure says nothing of the answer
            return Judgement(outcome="unknown", evidence=f"{name} raised {type(error).__name__}: {error}")
        return judged

    def verifier_version(self, problem: Problem, verifier: str = "") -> int:
        """The version of a verifier, by default the problem's own."""
        return self.tools.verifier(verifier or problem.verifier).version

    def prompt(self, name: str) -> Prompt:
        """A prompt file of errata's or of the recipe's."""
        return self.tools.prompt(name)


def _call(role: str, identity: Identity, key: str, request: Request, reply: Reply, template: str = "") -> Call:
    drawn = request.sampling
    return Call(
        role=role, engine=identity.engine, model=identity.model, revision=identity.revision, key=key,
        seed=request.seed, temperature=drawn.temperature, top_p=drawn.top_p, max_tokens=drawn.max_tokens,
        template=template, prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens,
        finish=reply.finish,
    )  # fmt: skip
