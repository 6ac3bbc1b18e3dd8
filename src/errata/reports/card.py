"""The dataset's card: what it is for, how it was made, what became of every episode, and how to make it again."""

from collections.abc import Mapping
from typing import Any

import yaml

from errata.recipe.spec import Recipe
from errata.records.manifest import Manifest
from errata.store.dataset import configs_yaml


def card(manifest: Manifest, metrics: Mapping[str, Any], recipe: Recipe) -> str:
    """`README.md` of a version: YAML front matter that loaders read, then text for people."""
    rows = {c: sum(splits.values()) for c, splits in manifest.configs.items()}
    front = yaml.safe_dump(
        {
            "pretty_name": manifest.name,
            **({"license": recipe.licence.lower()} if recipe.licence else {}),
            "language": ["en"],
            "tags": ["synthetic", "self-correction", "errata"],
            "annotations_creators": ["machine-generated"],
            "size_categories": [_size(max(rows.values(), default=0))],
        },
        sort_keys=False,
    )
    sections = [
        f"# {manifest.name} {manifest.version}",
        recipe.about or "A self-correction dataset made by errata.",
        *([f"Method: {recipe.method}"] if recipe.method else []),
        "## Rows\n\n" + table(["config", "split", "rows"], _splits(manifest)),
        "## Yield\n\nEach line holds: in = out + filtered + quarantined. "
        "The reasons of every drop are in the config `drops`.\n\n"
        + table(
            ["stage", "unit", "in", "out", "filtered", "quarantined", "reasons"], [_line(e) for e in manifest.funnel]
        ),
        "## Corrections\n\n" + _corrections(metrics),
        "## Models\n\n"
        + table(
            ["role", "engine", "model", "licence"],
            [[m["role"], m["engine"], m["model"], m["licence"] or "-"] for m in manifest.models],
        ),
        *([_agreement(metrics)] if metrics["agreement"] or metrics["location_agreement"] else []),
        *([_location(metrics)] if metrics["location"] else []),
        *([_splices(metrics)] if metrics["trajectories"]["splices"] else []),
        "## Make it again\n\n"
        f"Pipeline version `{manifest.pipeline_version}`, content hash `{manifest.content_hash}`. "
        "With the run's journal, "
        "`errata run RECIPE --replay --journal JOURNAL --out DIR` gives the same bytes without any engine. "
        f"Promise: {manifest.determinism}. The filled-in recipe and the digests of code, prompts and models are in "
        "`_manifest/manifest.json`.",
        "## Limits\n\nThe rows are made by models and checked by programs; a verifier judges answers and, where the "
        "recipe says so, steps. A right answer does not prove right reasoning. Text from privileged context (reference "
        "answers, gold steps) is searched for in critiques and reflections by rule, not by meaning.",
    ]
    return f"---\n{front}{configs_yaml(manifest.configs)}---\n\n" + "\n\n".join(sections) + "\n"


def table(head: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table; cells are plain text."""
    clean = [[str(c).replace("|", "\\|").replace("\n", " ") for c in row] for row in rows]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in clean)])


def _size(rows: int) -> str:
    steps = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    return next((name for limit, name in steps if rows < limit), "n>1M")


def _splits(manifest: Manifest) -> list[list[Any]]:
    return [[config, split, n] for config, splits in manifest.configs.items() for split, n in splits.items()]


def _line(entry: Mapping[str, Any]) -> list[Any]:
    reasons = ", ".join(f"{code} {n}" for code, n in entry["reasons"].items())
    return [
        entry["stage"],
        entry["unit"],
        entry["in"],
        entry["out"],
        entry["filtered"],
        entry["quarantined"],
        reasons or "-",
    ]


def _corrections(metrics: Mapping[str, Any]) -> str:
    lines = [
        [
            stage,
            *(found.get(k, 0) for k in ("wrong_to_right", "wrong_to_wrong", "right_to_right", "right_to_wrong")),
            _share(found["mended"]),
            _share(found["broken"]),
        ]
        for stage, found in metrics["revisions"].items()
    ]
    if not lines:
        return "No attempt was revised."
    return table(
        ["revisions by", "wrong to right", "wrong to wrong", "right to right", "right to wrong", "mended", "broken"],
        lines,
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _agreement(metrics: Mapping[str, Any]) -> str:
    parts = ["## Agreement"]
    if metrics["agreement"]:
        head = ["verifier", "label", "both_pass", "both_fail", "only_verifier_passes", "only_label_passes", "unknown"]
        parts.append(table(head, [[a[h] for h in head] for a in metrics["agreement"]]))
    if metrics["location_agreement"]:
        parts.append("Where two sources locate the first error:")
        head = ["a", "b", "same", "different", "unknown"]
        parts.append(table(head, [[a[h] for h in head] for a in metrics["location_agreement"]]))
    return "\n\n".join(parts)


def _location(metrics: Mapping[str, Any]) -> str:
    """First errors as located, against those that people labelled."""
    head = ["source", "locator", "rows", "accuracy_error", "accuracy_clean", "f1"]
    rows = [[x[h] if h in head[:3] else _share(x[h]) for h in head] for x in metrics["location"]]
    return "## Location of labelled errors\n\n" + table(head, rows)


def _splices(metrics: Mapping[str, Any]) -> str:
    """Spliced trajectories by mode, and how actors name first errors; pasted splices make no verified row."""
    found = metrics["trajectories"]
    head = ["world", "mode", "pairs", "accepted", "of_pasted", "inconsistent"]
    rows = [[x[h] if h in head[:4] else _share(x.get(h)) for h in head] for x in found["splices"]]
    text = "## Spliced trajectories\n\n" + table(head, rows)
    if found["first_error"]:
        head = ["world", "source", "paths", "named", "labelled", "precision", "recall"]
        rows = [[x[h] if h in head[:5] else _share(x[h]) for h in head] for x in found["first_error"]]
        text += "\n\nFirst errors as named, against the world's own distance:\n\n" + table(head, rows)
    return text
