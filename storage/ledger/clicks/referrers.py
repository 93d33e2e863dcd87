"""Referrers: the host a visitor comes from, and whether that is a search engine."""

import re

ENGINES = (
    "google", "bing", "yahoo", "duckduckgo", "yandex", "baidu", "ecosia", "brave", "startpage", "qwant", "naver",
    "seznam", "ask", "aol",
)  # fmt: skip
"""By the names that rules use."""

_HOME = re.compile(r"(?:com?|org|net|[a-z]{2})(?:\.[a-z]{2,3})?")  # what may stand after an engine's name
#: Where these search: other hosts of theirs are mail, news and the like.
_SEARCH_HOSTS = {"yahoo": "search", "brave": "search", "naver": "search", "seznam": "search", "aol": "search"}
_NO_SEARCH = frozenset({
    "mail", "docs", "drive", "accounts", "calendar", "meet", "chat", "groups", "play", "sites", "news", "support",
    "ads",
})  # fmt: skip
_APPS = {"com.google.android.googlequicksearchbox": "google", "com.duckduckgo.mobile.android": "duckduckgo"}


def host_and_path(referrer: str) -> str:
    """`news.example.test/story?x=1` of an address, in lower case, without scheme and `www.`; empty without a host."""
    _, separator, rest = referrer.partition("://")
    return (rest if separator else referrer).lower().removeprefix("www.").rstrip("/")


def search_engine(came_from: str) -> str:
    """The engine (one of ENGINES) whose result page the host and path are of; empty for any other place."""
    host = str(re.split(r"[/?:#]", came_from, maxsplit=1)[0])
    if host in _APPS:
        return _APPS[host]
    if host == "ya.ru":
        return "yandex"
    labels: list[str] = host.split(".")
    for n, label in enumerate(labels):
        if label in ENGINES and _HOME.fullmatch(".".join(labels[n + 1 :])):
            before = labels[:n]
            needed = _SEARCH_HOSTS.get(label)
            if (needed and needed not in before) or _NO_SEARCH.intersection(before):
                return ""
            return label
    return ""
