"""Whose account at which vendor a call goes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from proxy.upstream.authorizer import Authorizer, Static


@dataclass(frozen=True, slots=True)
class Account:
    """Whose account at which vendor: where calls go, and what opens the door there.

    `private`: the vendor is in a private network; without it only public addresses are called. `identity` is
    the same for the same key in every configuration, and tells nothing of it.
    """

    provider: str
    base_url: str
    auth: Authorizer = field(default=Static(), repr=False)
    private: bool = False
    identity: str = ""

    @property
    def secrets(self) -> Sequence[str]:
        """All that must be blanked in what a vendor says."""
        return self.auth.secrets
