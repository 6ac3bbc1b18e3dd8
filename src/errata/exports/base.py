"""What an export is given: its name, and the prompts that a row may begin with.

An export is a pure function over one episode, `def f(episode, ctx, *, ...) -> Iterator[row | Drop]`: it projects
records to rows and asks nobody.
"""

from collections.abc import Callable
from dataclasses import dataclass

from errata.prompts import Prompt


@dataclass(frozen=True, slots=True)
class ExportContext:
    """What an export may use; made by the runner for one export of one recipe."""

    stage: str
    """The name of the export in the recipe."""
    prompt: Callable[[str], Prompt]
    """A prompt file of errata's or of the recipe's, by name."""
