"""Host names: which part of one is bought, and what is an address instead."""

from ipaddress import ip_address

#: Second-level names under which some countries register; enough to tell brand.co.uk from a host in a domain.
_DEEPER = {"co", "com", "org", "net", "gov", "edu", "ac", "or", "ne", "gob", "nom", "web", "in"}


def bought(name: str) -> str:
    """The registered domain a host name is in: brand.com of go.brand.com, brand.co.uk of www.brand.co.uk."""
    labels = name.split(".")
    deep = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _DEEPER
    return ".".join(labels[-3:] if deep else labels[-2:])


def is_bare(name: str) -> bool:
    """Whether it is a domain as bought, which cannot have a CNAME, not a host in one."""
    return bought(name) == name


def within(name: str) -> str:
    """The host's part below the registered domain; empty for the domain itself."""
    return name.removesuffix(bought(name)).removesuffix(".")


def is_address(host: str) -> bool:
    """Whether a host name is an IP address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
