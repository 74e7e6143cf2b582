"""Whose request it is: the visitor's address, also behind reverse proxies."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

IPV6_PREFIX = 64
"""One household, and often one phone, has that much of IPv6 to itself."""


class Visitors:
    """Reads `X-Forwarded-For` as far as it was written by proxies that are trusted."""

    def __init__(self, trusted_proxies: Sequence[str]) -> None:
        self._trusted = [ip_network(network) for network in trusted_proxies]

    def key(self, peer: str | None, forwarded: Sequence[str]) -> str:
        """What a visitor is counted under: an IPv4 address, or the first half of an IPv6 address.

        Each proxy appends whom it was asked by, so the header is read from its end, for as long as the address before
        is trusted. What stands further left anybody may have written.

        Args:
            peer: the other end of the connection.
            forwarded: the values of the header, in their order.
        """
        hops = [hop.strip() for value in forwarded for hop in value.split(",")]
        address = _address(peer or "")
        while address is not None and hops and any(address in network for network in self._trusted):
            before = _address(hops.pop())
            if before is None:
                break
            address = before
        if isinstance(address, IPv6Address):
            return str(ip_network((address, IPV6_PREFIX), strict=False))
        return "unknown" if address is None else str(address)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip().removeprefix("[").partition("]")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
