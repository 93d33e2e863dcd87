"""Web addresses that people give us: checked once here, wherever one is taken."""

import re
import unicodedata
from ipaddress import IPv6Address
from urllib.parse import SplitResult, urlsplit

from storage.ledger.errors import Refused

LONGEST = 2000  # characters; browsers and platforms cut longer ones
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


def web_address(text: str, *, field: str, user_info: bool = False) -> str:
    """The address without spaces around it: http or https, a host that can exist, nothing that ends a header or a tag.

    The host holds letters, digits, hyphens, dots and underscores only, so that it may stand in a header's policy.
    Raises Refused at `field`. `user_info` allows `user:password@`.
    """
    url = text.strip()
    fault = _fault(url)
    if fault:
        raise Refused(f"{field}: {_shown(url)} is not a web address ({fault}): write https://…", field=field)
    if not user_info and "@" in urlsplit(url).netloc:
        raise Refused(f"{field}: leave the user name and password out of the address", field=field)
    return url


def origin_of(address: str) -> str:
    """Scheme, host and port of a web address, as a browser names them in `Origin`."""
    parts = urlsplit(address)
    host = (parts.hostname or "").encode("idna").decode()
    port = {None: "", 80: "" if parts.scheme == "http" else ":80", 443: "" if parts.scheme == "https" else ":443"}
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}{port.get(parts.port, f':{parts.port}')}"


def is_host(name: str) -> bool:
    """Whether a host name can exist in DNS, or is an IPv6 address; IDN letters are judged as they are sent."""
    if ":" in name:
        try:
            return bool(IPv6Address(name.partition("%")[0])) and "%" not in name
        except ValueError:
            return False
    try:
        ascii_name = name.encode("idna").decode().lower()
        ascii_name.encode().decode("idna")  # xn--… that stands for no letters
    except UnicodeError:
        return False
    labels = ascii_name.removesuffix(".").split(".")
    return len(ascii_name) <= 253 and all(_LABEL.fullmatch(label) for label in labels)


def _fault(url: str) -> str:
    """What is wrong with an address; empty if nothing."""
    if len(url) > LONGEST:
        return f"longer than {LONGEST:,} characters"
    if any(letter in " \"'<>\\`" or unicodedata.category(letter) in _INVISIBLE for letter in url):
        return "it holds a space, a quote or a control character"
    try:
        parts: SplitResult = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in {"http", "https"} or not host:
        return "no http or https address"
    if port == 0 or not is_host(host):
        return "no such host can exist"
    return ""


#: Unicode's categories of what is not seen: controls, formats, surrogates, private and unassigned ones, separators.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})


def _shown(url: str) -> str:
    return repr(url[:80])
