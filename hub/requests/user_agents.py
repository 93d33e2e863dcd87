"""What a user agent tells: device, system, browser, and whether it is a machine. Each is read once.

People browse inside Snapchat, Viber, Instagram and the like; only what fetches a link's preview for them is a machine.
"""

import hashlib
import re
from collections.abc import Callable

from ua_parser import Domain, Resolver

from storage.clicks.write_jobs import Agent
from storage.ledger.facts import Bot

_KEPT = 10_000
_KEPT_BYTES = 1_500_000  # of them in all: 10,000 as browsers send them, 3,000 of the longest
_LONGEST = 512  # bytes; what comes after is never read, nor stored
_PREVIEWS = re.compile(
    r"^(?:whatsapp|viber|snapchat)|snap url preview|facebookexternalhit|facebot|twitterbot|slackbot|slack-imgproxy|"
    r"telegrambot|discordbot|linkedinbot|skypeuripreview|pinterestbot|redditbot|vkshare|bitlybot|iframely|embedly|"
    r"mattermost|google-pagerenderer",
    re.IGNORECASE,
)
_IN_APP = re.compile(
    r"Mozilla/5\.0 \((?!compatible)(?!.*(?:bot\b|spider|crawl|preview)).*\b(?:snapchat|viber|instagram|barcelona|fban|"
    r"fbav|fb_iab|musical_ly|bytedancewebview|tiktok|line/|telegram|micromessenger|whatsapp|slack|pinterest|discord|"
    r"skype|kakaotalk)",
    re.IGNORECASE,
)
_LONG_WORD = re.compile(r"([\w-]{32})[\w-]+([\w-]{16})", re.ASCII)
"""The list of crawlers takes time by the square of a word's length; no program's name is that long."""
_TABLET = re.compile(r"ipad|tablet|playbook|silk(?!.*mobile)|kindle|android(?!.*mobile)", re.IGNORECASE)
_MOBILE = re.compile(r"mobi|iphone|ipod|android|windows phone|opera mini|blackberry|bb10|symbian", re.IGNORECASE)
_DESKTOP = re.compile(r"windows nt|macintosh|x11|cros |linux", re.IGNORECASE)


class UserAgents:
    """Reads user agents and remembers them, so that none is on the critical path twice."""

    def __init__(self) -> None:
        self._known: dict[bytes, Agent] = {}
        self._bytes = 0
        self._crawler: Callable[[str], bool] | None = None
        self._resolver: Resolver | None = None

    def of(self, header: bytes) -> Agent:
        if len(header) > _LONGEST:
            header = header[:_LONGEST]
        agent = self._known.get(header)
        if agent is None:
            self._bytes += len(header)
            if len(self._known) >= _KEPT or self._bytes > _KEPT_BYTES:
                self._known.clear()
                self._bytes = len(header)
            agent = self._known[header] = self._read(header.decode("utf-8", "replace").replace("\x00", ""))
        return agent

    def warm(self) -> None:
        """Load what reading needs, before the first visitor comes."""
        self._read("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36")

    def _read(self, text: str) -> Agent:
        bot = self._bot(text)
        parsed = self._parser()(text, Domain.USER_AGENT | Domain.OS)
        return Agent(
            text=text,
            device="bot" if bot else device(text),
            os=parsed.os.family if parsed.os else "",
            browser=parsed.user_agent.family if parsed.user_agent else "",
            bot=bot,
            mark=int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big"),
        )

    def _parser(self) -> Resolver:
        """Browser and system only: the brands and models of devices cost 14 MB, and no report uses them."""
        if self._resolver is None:
            from ua_parser.loaders import load_lazy_builtins
            from ua_parser.regex import Resolver as Compiled

            browsers, systems, _devices = load_lazy_builtins()
            self._resolver = Compiled((browsers, systems, []))
        return self._resolver

    def _bot(self, text: str) -> int:
        if fetches_preview(text):
            return Bot.PREVIEW
        if _IN_APP.match(text):
            return Bot.NO
        if self._crawler is None:
            from crawlerdetect import CrawlerDetect

            self._crawler = CrawlerDetect().is_crawler
        return Bot.CRAWLER if text and self._crawler(_LONG_WORD.sub(r"\1 \2", text)) else Bot.NO


def fetches_preview(text: str) -> bool:
    """Whether a chat asks, to show a preview of a link: not a person, nor a program of theirs."""
    return _PREVIEWS.search(text[:_LONGEST]) is not None


def device(text: str) -> str:
    """desktop, mobile, tablet or other."""
    if _TABLET.search(text):
        return "tablet"
    if _MOBILE.search(text):
        return "mobile"
    return "desktop" if _DESKTOP.search(text) else "other"
