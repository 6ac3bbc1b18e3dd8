import hashlib
import json
import random
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from errata.records.rows import SftRow
from errata.records.types import Drop, Episode, Estimate
from errata.store.hashing import Total, content_hash, digests, schema_hash
from tests.records.strategies import records


def reference(value: Any) -> Any:
    """The canonical form of a row as the module's docstring defines it, written again."""
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, dict):
        return {k: reference(v) for k, v in value.items()}
    return [reference(v) for v in value] if isinstance(value, list | tuple) else value


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(records(Episode), max_size=2), st.lists(records(SftRow), max_size=2))
def test_a_digest_is_that_of_the_canonical_json(episodes: list[Episode], rows: list[SftRow]) -> None:
    for batch, record in ((episodes, Episode), (rows, SftRow)):
        for row, found in zip(batch, digests(batch, record), strict=True):
            text = json.dumps(reference(msgspec.to_builtins(row)), sort_keys=True, separators=(",", ":"))
            assert found == (hashlib.sha256(text.encode()).digest(), len(text))


def test_totals_add_up_in_any_order_and_any_cut() -> None:
    rows = [Estimate(target="t", stage="s", name="n", value=i / 7, n=i) for i in range(50)]
    whole = Total().plus(d.sha256 for d in digests(rows, Estimate))
    random.Random(0).shuffle(rows)
    parts = Total()
    for piece in (rows[:7], rows[7:8], rows[8:]):
        parts = parts.plus(d.sha256 for d in digests(piece, Estimate))
    assert parts == whole and whole.rows == 50


def test_the_content_hash_sees_every_change() -> None:
    one = Total(1, 5)
    hashes = {
        content_hash({"a": one}, {"a": Drop}),
        content_hash({"b": one}, {"b": Drop}),
        content_hash({"a": one}, {"a": Episode}),
        content_hash({"a": Total(1, 6)}, {"a": Drop}),
        content_hash({"a": Total(2, 5)}, {"a": Drop}),
        content_hash({"a": one, "b": Total()}, {"a": Drop, "b": Drop}),
    }
    assert len(hashes) == 6
    assert content_hash({"a": one, "b": one}, {"a": Drop, "b": Drop}) == content_hash(
        {"b": one, "a": one}, {"a": Drop, "b": Drop}
    )


def test_schemas_are_pinned() -> None:
    """A change here changes every content hash: raise FORMAT_VERSION with it."""
    assert (
        schema_hash(Drop)
        == hashlib.sha256(
            b"episode:string,stage:string,code:string,kind:string,target:string,detail:string"
        ).hexdigest()
    )
