"""A recipe as types: what one YAML file in `pipelines/` may say."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from errata.registry import Count

NotNegative = Annotated[float, Meta(ge=0)]


class Use(Struct, frozen=True, kw_only=True):
    """A component and its configuration."""

    use: str
    """Its name, or `file.py:function` beside the recipe."""
    with_: Mapping[str, Any] = {}


class SamplingSpec(Struct, frozen=True, kw_only=True):
    """How an engine's tokens are drawn."""

    temperature: NotNegative = 1.0
    top_p: NotNegative = 1.0
    max_tokens: Count = 512
    stop: tuple[str, ...] = ()


class Price(Struct, frozen=True, kw_only=True):
    """What an engine costs, in any currency; the run adds it up, and no row depends on it."""

    prompt: NotNegative = 0.0
    """Of a million prompt tokens."""
    completion: NotNegative = 0.0
    """Of a million completion tokens."""
    hour: NotNegative = 0.0
    """Of an hour of one replica."""


class EngineSpec(Use, frozen=True, kw_only=True):
    """The engine that plays a role."""

    system: str = ""
    """A system message put before every request's."""
    sampling: SamplingSpec = SamplingSpec()
    schema: Mapping[str, Any] = {}
    """JSON Schema of every reply, where the prompt brings none."""
    replicas: Count = 1
    """Actors that the Ray runner starts of this engine, and routes between; changes no row."""
    gpus: NotNegative | None = None
    """GPUs of each replica; None: as many as its `tensor_parallel`. Changes no row."""
    patience: Annotated[float, Meta(ge=1)] = 900.0
    """Seconds without one finished request after which a replica with work is taken to hang, and started again."""
    price: Price = Price()
    """What it costs, for the account of the run. Changes no row."""


class StepSpec(Use, frozen=True, kw_only=True):
    """A stage of the DAG. Steps run in order unless `after` names others."""

    name: str = ""
    """Empty: the component's own name."""
    after: tuple[str, ...] | None = None


class ExportSpec(Use, frozen=True, kw_only=True):
    """A config of the dataset."""

    name: str = ""


class Gate(Struct, frozen=True, kw_only=True):
    """Bounds of a figure of `metrics.json`, without which no version is made."""

    metric: str
    """Dotted path, e.g. `revisions.revise.mended`."""
    min: float | None = None
    max: float | None = None


class IterateSpec(Struct, frozen=True, kw_only=True):
    """Rounds: each makes a dataset version, then trains the student that the next one works with."""

    train: str
    """The training command, split into arguments as a shell would, and run without one. {dataset}: the version's
    folder; {config}; {model}: what training starts from; {out}: the folder to write the new model to; {round}: from 1;
    {seed}: the round's own, below 2^31; {python}: the interpreter that runs errata."""
    rounds: Count = 3
    student: str = "student"
    """The role that is trained. Other roles keep their models."""
    config: str = ""
    """The export that {config} names. Empty: the first."""
    start: Literal["previous", "base"] = "previous"
    """Train on from the last round's student, or each time from the first round's."""
    keep: Literal["last", "all"] = "last"
    """Train on the last round's dataset, or on those of all rounds so far: {dataset} is then repeated."""
    sets: tuple[tuple[str, ...], ...] = ()
    """Changes for each round, written as for `--set`; rounds beyond the list keep to its last entry."""


class Recipe(Struct, frozen=True, kw_only=True):
    """One pipeline."""

    name: str
    version: str
    about: str = ""
    """What it makes and after which method."""
    method: str = ""
    """The paper or specification that it follows."""
    licence: str = ""
    """Licence of the dataset."""
    seed: int = 0
    limit: int | None = None
    """Take only the first episodes of the source."""
    source: Use
    engines: Mapping[str, EngineSpec] = {}
    """By role."""
    stages: tuple[StepSpec, ...] = ()
    corpus: tuple[Use, ...] = ()
    exports: tuple[ExportSpec, ...]
    gates: tuple[Gate, ...] = ()
    iterate: IterateSpec | None = None
    """How `errata iterate` repeats it with a student trained on its rows; `errata run` makes one round."""
    concurrency: Count = 2048
    """Episodes in flight, on each worker; changes no row. Many, so that all first samples come before what follows from
    them: the end of a run is then short requests' last ones, not whole chains."""
    part_size: Count = 256
    """Problems in a part, the unit of commit; changes no row."""


NOT_IN_VERSION = ("gates", "iterate", "concurrency", "part_size")
"""Fields that change how a run goes and none of its rows."""
