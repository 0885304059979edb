"""Vendors as data: profiles in YAML, checked, compiled and interpreted by one wire; see docs/vendors.md."""

from proxy.checking.mistakes import Mistake
from proxy.wires.declared.chat import ChatDelegate
from proxy.wires.declared.check import check_profile
from proxy.wires.declared.outcome import Billing, Done, Outcome, Pending, Ready
from proxy.wires.declared.profile import (
    ChatSurface,
    Profile,
    ProfileError,
    Surface,
    effective,
    load_profile,
)
from proxy.wires.declared.sections import PollPlan
from proxy.wires.declared.stream import StreamReader
from proxy.wires.declared.wire import DeclaredWire

__all__ = [
    "Billing",
    "ChatDelegate",
    "ChatSurface",
    "DeclaredWire",
    "Done",
    "Mistake",
    "Outcome",
    "Pending",
    "PollPlan",
    "Profile",
    "ProfileError",
    "Ready",
    "StreamReader",
    "Surface",
    "check_profile",
    "effective",
    "load_profile",
]
