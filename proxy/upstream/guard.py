"""Which addresses are public. Pure; `fetch` and `transport` ask it for every address they would connect to.

`ipaddress.is_global` alone is not enough: Python 3.11 calls multicast, NAT64, 6to4 and IPv4-compatible forms
of private addresses global (measured on 3.11.7), so the ranges are listed here.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from proxy.checking.addresses import LOCAL_NAMES

# IANA special-purpose registries for IPv4 and IPv6, and what cloud vendors put their metadata service on.
_CLOSED_V4: tuple[IPv4Network, ...] = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's metadata and DNS
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)

# Only 2000::/3 is given out; within it these are not.
_OPEN_V6 = IPv6Network("2000::/3")
_CLOSED_V6: tuple[IPv6Network, ...] = tuple(
    IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20")
)

# Prefixes that carry an IPv4 address, and at which bit it ends.
_CARRIES_V4: tuple[tuple[IPv6Network, int], ...] = tuple(
    (network, bit)
    for prefix, bit in (
        ("::ffff:0:0/96", 128),  # IPv4-mapped
        ("::ffff:0:0:0/96", 128),  # IPv4-translated
        ("::/96", 128),  # IPv4-compatible
        ("64:ff9b::/96", 128),  # NAT64
        ("2002::/16", 48),  # 6to4
    )
    if isinstance(network := ip_network(prefix), IPv6Network)
)


def is_public(address: str | IPv4Address | IPv6Address) -> bool:
    """True if the address is given out for the open internet, whatever form it is written in.

    An IPv6 address that carries an IPv4 address is as public as that one. Anything that is not an address
    is not public; neither is one with a zone.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in _CLOSED_V4)
    if ip.scope_id is not None:
        return False
    for network, bit in _CARRIES_V4:
        if ip in network:
            return is_public(IPv4Address(int(ip) >> (128 - bit) & 0xFFFFFFFF))
    return ip in _OPEN_V6 and not any(ip in network for network in _CLOSED_V6)


def is_literal(host: str) -> bool:
    """True for an address that needs no resolving, in any form that some system's resolver takes: a name that
    ends in a number is none."""
    last = host.rpartition(".")[2].lower()
    return ":" in host or last.isdigit() or last.startswith("0x")


def is_inside(host: str) -> bool:
    """Whether a host is one of a private network, by its looks, before its name is resolved."""
    name = host.rstrip(".").lower()
    if is_literal(name):
        return not is_public(name)
    return "." not in name or f".{name}".endswith(LOCAL_NAMES)


class PrivateAddressError(OSError):
    """A connection to an address that is not public was refused before it was opened."""
