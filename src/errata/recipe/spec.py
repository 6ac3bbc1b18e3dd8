"""A recipe as types: what one YAML file in `pipelines/` may say."""

from collections.abc import Mapping
from typing import Annotated, Any

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
    concurrency: Count = 2048
    """Episodes in flight, on each worker; changes no row. Many, so that all first samples come before what follows from
    them: the end of a run is then short requests' last ones, not whole chains."""
    part_size: Count = 256
    """Problems in a part, the unit of commit; changes no row."""


NOT_IN_VERSION = ("gates", "concurrency", "part_size")
"""Fields that change how a run goes and none of its rows."""
