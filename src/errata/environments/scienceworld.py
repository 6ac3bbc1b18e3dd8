"""ScienceWorld: 30 kinds of experiments of a primary school in a house of ten rooms (Wang et al., arXiv:2203.07540).

The simulator is a Java program, in the wheel of the extra `scienceworld`; Java itself comes from the system (Debian:
default-jre-headless). One Java machine serves all worlds of a process, `live` of them at most, in a heap of 768 MB.
As it comes, the simulator is not deterministic in two ways, and both are mended here without changing a rule of it: the
order in which things are listed follows the identity hashes of Java objects, which are made constant, and all worlds
share one generator of random numbers, which is exchanged for the world's own before every action.

Measured on two busy cores: 3 s to start Java, 0.5 to 3 s to begin a task, 10 to 40 ms an action, 0.1 to 0.9 s for the
valid actions (up to 3,000), 1 to 30 s for a gold path, once a task; a world takes 10 MB, a process 500 to 900.
"""

import atexit
import random
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, ClassVar

from errata.environments.base import Turn
from errata.errors import ErrataError, MissingExtra
from errata.registry import environment

TASKS: tuple[dict[str, int], ...] = (
    {
        "find-animal": 300, "find-living-thing": 300, "find-non-living-thing": 300, "find-plant": 300,
        "lifespan-longest-lived": 125, "lifespan-longest-lived-then-shortest-lived": 125,
        "lifespan-shortest-lived": 125,
    },
    {
        "change-the-state-of-matter-of": 30, "chemistry-mix": 32, "chemistry-mix-paint-secondary-color": 36,
        "chemistry-mix-paint-tertiary-color": 36, "freeze": 30, "identify-life-stages-2": 10,
        "measure-melting-point-known-substance": 436, "power-component": 20,
        "power-component-renewable-vs-nonrenewable-energy": 20, "test-conductivity": 900,
        "test-conductivity-of-unknown-substances": 600, "use-thermometer": 540,
    },
    {
        "boil": 30, "identify-life-stages-1": 14, "inclined-plane-determine-angle": 168,
        "inclined-plane-friction-named-surfaces": 1386, "measure-melting-point-unknown-substance": 300, "melt": 30,
    },
    {
        "grow-fruit": 126, "grow-plant": 126, "inclined-plane-friction-unnamed-surfaces": 162,
        "mendelian-genetics-known-plant": 120, "mendelian-genetics-unknown-plant": 480,
    },
)  # fmt: skip
"""By difficulty, from 1 up: kinds of tasks and how many variations each has. Gold paths take about 5 to 10, 10 to 30,
30 to 60 and more actions."""

VARIATIONS = {task: count for tier in TASKS for task, count in tier.items()}
SIMPLIFICATIONS = (
    "easy",
    "teleportAction",
    "selfWateringFlowerPots",
    "openContainers",
    "openDoors",
    "noElectricalAction",
)
UNKNOWN = "No known action matches that input."
JAVA = (
    "-Xmx768m",
    "-XX:+UseSerialGC",
    "-XX:+UnlockExperimentalVMOptions",
    "-XX:hashCode=2",  # the same for all objects: sets of objects keep the order in which they were filled
)
_GOAL = re.compile(r"^\d+\t(true|false)\t\s*\S+\t(.+)$", re.MULTILINE)


@environment(version=1, name="scienceworld", inline=False)
class ScienceWorld:
    """Boil water, grow a plant, test what conducts: experiments in a simulated house."""

    live: ClassVar[int] = 16
    instructions = (
        "You are in a house with a workshop, a greenhouse and other rooms, and have a task of science to do. Every "
        "turn, say one action in a few words, such as: look around, look at OBJECT, go to PLACE, open OBJECT, "
        "pick up OBJECT, move OBJECT to OBJECT, pour OBJECT into OBJECT, mix OBJECT, activate OBJECT, "
        "use OBJECT on OBJECT, connect OBJECT to OBJECT, read OBJECT, wait, inventory, task, focus on OBJECT. "
        "Focus on the wrong object and the task is lost. Where an action is ambiguous, answer with the number of "
        "the one that you mean."
    )
    snapshots = False
    _playing: ClassVar["ScienceWorld | None"] = None
    """The world whose random numbers the simulator draws now."""

    def __init__(self) -> None:
        self._game: Any = None
        self._random: Any = None
        self._spec = ("", 0, "")
        self._taken: tuple[str, ...] = ()
        self._score = 0
        self._over = False

    @classmethod
    def warm_up(cls) -> None:
        """Start Java. Raises MissingExtra, or ErrataError where there is no Java."""
        _simulator()

    @classmethod
    def generate(cls, rng: random.Random, difficulty: int) -> dict[str, Any]:
        """A kind of task of the difficulty, and one of its variations, without simplifications."""
        task, count = rng.choice(list(TASKS[min(difficulty, len(TASKS)) - 1].items()))
        return {"task": task, "variation": rng.randrange(count), "simplifications": ""}

    def reset(self, spec: Mapping[str, Any]) -> str:
        """Begin; the task and a look around."""
        self._spec = _checked(spec)
        self._game, self._random = _simulator().new()
        self._taken, self._score, self._over = (), 0, False
        self._own()
        self._game.load(*self._spec, False)
        return f"{self._game.freeActionTaskDesc().strip()}\n\n{self._game.freeActionLook().strip()}"

    def step(self, action: str) -> Turn:
        """Act; time passes with every action that is understood."""
        if self._over:
            return self._turn("The episode has ended.", valid=False)
        self._own()
        said = str(self._game.step(action.encode("utf-8", "replace").decode())).strip()
        self._taken = (*self._taken, action)
        self._score = round(100 * self._game.getScore())
        self._over = bool(self._game.getCompleted()) or self._score < 0
        return self._turn(said, valid=said != UNKNOWN)

    def valid_actions(self) -> tuple[str, ...]:
        """All that the simulator offers, sorted; some hundreds to thousands."""
        if self._over:
            return ()
        self._own()
        return tuple(sorted(set(self._game.getValidActionObjectCombinations())))

    def gold_actions(self) -> tuple[str, ...] | None:
        """The rest of the simulator's gold path, which need not be the shortest; None off the path."""
        if self._over:
            return () if self._score == 100 else None
        gold = _gold(self._spec)
        done = len(self._taken)
        return gold[done:] if gold[:done] == self._taken and done < len(gold) else None

    def distance(self) -> float | None:
        """0 when it is done; else nobody can tell."""
        return 0 if self._score == 100 else None

    def checks(self) -> dict[str, bool]:
        """The goals that the simulator scores, by its own words for them."""
        self._own()
        found: dict[str, bool] = {}
        for met, goal in _GOAL.findall(self._game.getGoalProgressStr()):
            number = sum(name.partition(" (")[0] == goal for name in found)
            found[f"{goal} ({number + 1})" if number else goal] = met == "true"
        return found

    def snapshot(self) -> Any:
        """Not supported."""
        raise NotImplementedError("scienceworld is restored by reset and replay")

    def restore(self, state: Any) -> None:
        """Not supported."""
        raise NotImplementedError("scienceworld is restored by reset and replay")

    def _turn(self, observation: str, valid: bool) -> Turn:
        """A failed task has a score of -100 in the simulator; here it has none."""
        reward = max(0, min(100, self._score)) / 100
        return Turn(observation=observation, reward=reward, done=self._over, valid=valid, changed=valid)

    def _own(self) -> None:
        if ScienceWorld._playing is not self:
            _simulator().exchange(self._random)
            ScienceWorld._playing = self


class _Simulator:
    """The Java machine of this process."""

    def __init__(self) -> None:
        try:
            from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway
            from scienceworld.constants import BASEPATH, JAR_PATH
        except ImportError as error:
            raise MissingExtra("scienceworld", "scienceworld", "the world `scienceworld`") from error
        try:
            port, process = launch_gateway(
                classpath=JAR_PATH, die_on_exit=True, cwd=BASEPATH, return_proc=True, javaopts=list(JAVA)
            )
        except FileNotFoundError as error:
            raise ErrataError(
                "the world `scienceworld` needs Java, which is not installed: apt-get install default-jre-headless"
            ) from error
        self._gateway = JavaGateway(
            gateway_parameters=GatewayParameters(auto_field=True, port=port), java_process=process
        )
        self._process = process
        java = self._gateway.jvm
        self._shared = getattr(getattr(java.scala.util, "Random$"), "MODULE$")
        self._field = java.java.lang.Class.forName("scala.util.Random").getDeclaredField("self")
        self._field.setAccessible(True)
        atexit.register(self.close)

    def new(self) -> tuple[Any, Any]:
        """A world that is not loaded, and its generator of random numbers."""
        java = self._gateway.jvm
        return java.scienceworld.runtime.pythonapi.PythonInterface(), java.java.util.Random(0)

    def exchange(self, generator: Any) -> None:
        """Let all that the simulator draws come from this generator."""
        self._field.set(self._shared, generator)

    def close(self) -> None:
        """End Java, which ends when its input does."""
        self._gateway.close()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        self._process.wait()


@cache
def _simulator() -> _Simulator:
    return _Simulator()


@lru_cache(maxsize=256)
def _gold(spec: tuple[str, int, str]) -> tuple[str, ...]:
    """The gold path of a task, found in a world of its own."""
    game, generator = _simulator().new()
    _simulator().exchange(generator)
    ScienceWorld._playing = None
    game.load(*spec, True)
    return tuple(game.getGoldActionSequence())


def _checked(spec: Mapping[str, Any]) -> tuple[str, int, str]:
    task, variation, simplifications = (spec.get(key) for key in ("task", "variation", "simplifications"))
    if not isinstance(task, str) or task not in VARIATIONS:
        raise ValueError(f"no task of ScienceWorld is called {task!r}: there are {', '.join(sorted(VARIATIONS))}")
    if not isinstance(variation, int) or isinstance(variation, bool) or not 0 <= variation < VARIATIONS[task]:
        raise ValueError(f"{task} has the variations 0 to {VARIATIONS[task] - 1}, not {variation!r}")
    if not isinstance(simplifications, str):
        raise ValueError(f"simplifications are names with commas between, not {simplifications!r}")
    if unknown := {s for s in simplifications.split(",") if s} - set(SIMPLIFICATIONS):
        raise ValueError(f"no simplification is called {', '.join(unknown)}: there are {', '.join(SIMPLIFICATIONS)}")
    return task, variation, simplifications
