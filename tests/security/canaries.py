"""Secrets that must not be found anywhere, a run whose server throws them back at errata, and the search for them."""

import base64
import json
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pyarrow.parquet as pq

from tests import servers
from tests.runners.support import Recipe
from tests.servers import Fault

KEY = "sk-canary-" + "0123456789abcdef" * 6
"""Longer than what is told of any answer, so that it is also cut in the middle."""
VARIABLES = {
    "ERRATA_TEST_KEY": KEY,
    "OPENAI_API_KEY": KEY.replace("canary", "canary-openai"),
    "HF_TOKEN": "hf_canaryhuggingface",
    "AWS_SECRET_ACCESS_KEY": "canaryaws0123456789",
}
PASSWORD = "canarypassword"
SEARCHED = [
    b"canary",
    *(base64.b64encode(b"-" * shift + v.encode())[4:-4] for v in [*VARIABLES.values(), PASSWORD] for shift in range(3)),
]
"""Also as in a header of basic authentication, where what stands before decides how it is encoded."""


def echoes() -> Iterator[Fault | None]:
    """Answers that hold the key in every place that errata reads, and right ones between them."""
    faults = [
        servers.status(400, message=f"bad key {KEY}"),
        servers.status(503, message=f"Authorization: Bearer {KEY}"),
        servers.raw(f"{KEY}<html>".encode(), "text/html"),
        servers.content("x", finish_reason=KEY),
        servers.status(500, {"Retry-After": KEY}, message=KEY),
        servers.edit(lambda e: e.update(system_fingerprint=KEY)),
        servers.edit(lambda e: e["usage"].update(prompt_tokens=KEY)),
        servers.edit(lambda e: e.update(choices=[{"message": None, KEY: 1}])),
    ]
    return cycle([None, *faults, None])


STOPS = [
    servers.status(401, message=f"Incorrect API key: {KEY}"),
    servers.status(402, message=f"{KEY} has no funds"),
    servers.status(307, {"Location": f"https://h/v1?key={KEY}"}),
    servers.edit(lambda e: e.update(model=KEY)),
    servers.status(429, {"Retry-After": "99999"}, message=KEY),
]
"""Answers that stop a run, and hold the key."""


def with_key(recipe: Recipe, url: str) -> None:
    """Both roles are a server's, whose key stands in ERRATA_TEST_KEY."""
    recipe.served(url, api_key_env="ERRATA_TEST_KEY", retries=1, concurrency=4)
    recipe.data["part_size"] = 4
    recipe.write()


def found(*places: Path | str) -> list[str]:
    """Where a secret is in these texts and below these folders; in Parquet also in what it decodes to."""
    hits = []
    for place in places:
        if isinstance(place, str):
            hits += [f"text: {place[-300:]}"] if _holds(place.encode()) else []
            continue
        for path in (p for p in place.rglob("*") if p.is_file() and not p.is_symlink()):
            if _holds(path.read_bytes()) or (path.suffix == ".parquet" and _holds(_decoded(path))):
                hits.append(str(path))
    return hits


def _holds(data: bytes) -> bool:
    return any(secret in data for secret in SEARCHED)


def _decoded(path: Path) -> bytes:
    return json.dumps([*map(str, pq.read_table(path).to_pylist()), str(pq.read_metadata(path).metadata)]).encode()
