"""Telling a client that its task is over, at the address that it gave: see documents/001."""

from __future__ import annotations

from proxy.serve.house import House
from proxy.upstream import callbacks


def check(url: str, house: House) -> None:
    """Raises a 400 that says why nothing can be sent there, as far as its looks tell."""
    callbacks.check(url, private=may_be_private(house))


def may_be_private(house: House) -> bool:
    """Simulated vendors are for trying things out at home."""
    return house.plan.config.tasks.callbacks.private or house.plan.routes.simulated is not None
