"""Crafting keeps the contract of worlds, and its distance is exact."""

import pytest

from errata.environments.crafting import Crafting
from tests.environments import contract


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_the_contract(check: contract.Check) -> None:
    check(Crafting, range(1, 10))
