"""What the command line asks for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from errata.objects import Location
from errata.runners.drain import GRACE


@dataclass(frozen=True, kw_only=True)
class Options:
    """A recipe and how to run it; of all this only the recipe, `changes` and `limit` can change a row."""

    recipe: Path
    out: Location = Path("out")
    changes: tuple[str, ...] = ()
    limit: int | None = None
    runner: Literal["local", "ray"] = "local"
    journal: Location | None = None
    replay: bool = False
    workers: int = 2
    """Workers of the Ray runner."""
    address: str | None = None
    """The Ray to run on; None: that of the variable RAY_ADDRESS, or one of this machine alone."""
    grace: float = GRACE
    """Seconds after SIGTERM in which what engines are at may finish."""
