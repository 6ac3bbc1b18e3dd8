"""`schemas/recipe.json`, for editors that check a recipe while it is written.

Made by `python -m errata.recipe.generate schemas/`. It stands here and not with the schemas of records, since records
know nothing of recipes.
"""

import sys
from pathlib import Path

from errata.recipe.read import schema
from errata.records.generate import render


def main(folder: Path) -> None:
    """Write the schema of recipes into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(render(schema()), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m errata.recipe.generate FOLDER")
    main(Path(sys.argv[1]))
