"""The platforms we can connect to, each imported when first asked for."""

import difflib
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

import msgspec

from connectors.base import Platform
from storage.ledger.errors import Missing

#: Module names in connectors.platforms, and what people call them.
PLATFORMS: dict[str, str] = {
    "affilka": "Affilka",
    "referon": "ReferOn",
    "myaffiliates": "MyAffiliates",
    "income_access": "Income Access",
    "smartico": "Smartico",
    "cellxpert": "Cellxpert",
    "alanbase": "Alanbase",
    "scaleo": "Scaleo",
    "everflow": "Everflow",
    "affise": "Affise",
    "tune": "TUNE",
    "netrefer": "NetRefer",
    "trackbox": "TrackBox",
    "csv_upload": "CSV upload",
    "postback_only": "Postbacks only",
}
#: Platforms that are a preset of `csv_upload`; connectors.platforms.csv_upload.TITLES says what they are called.
PRESETS = ("ego", "mexos", "partnermatrix", "raventrack", "quintessence")


def preset_name(word: str) -> str:
    """The preset of `csv_upload` that people mean by a platform's name; empty for a platform of its own."""
    letters = _letters(word)
    return letters if letters in PRESETS else ""


def platform_name(word: str) -> str:
    """The module name for a platform as people write it. Raises Missing with the nearest."""
    letters = _letters(word)
    names = dict.fromkeys(PRESETS, "csv_upload") | {name.replace("_", ""): name for name in PLATFORMS}
    names |= {title.lower().replace(" ", ""): name for name, title in PLATFORMS.items()}
    if letters in names:
        return names[letters]
    near = difflib.get_close_matches(letters, names, n=1, cutoff=0.5)
    meant = near[0] if near and near[0] in PRESETS else names[near[0]] if near else ""
    hint = f"did you mean {meant!r}?" if meant else f"there is {', '.join((*PLATFORMS, *PRESETS))}"
    raise Missing(f"no platform {word!r}: {hint}", field="platform")


def _letters(word: str) -> str:
    return "".join(letter for letter in word.lower() if letter.isalnum())


@cache
def platform(name: str) -> Platform:
    """The connector of that name. Raises Missing for an unknown one."""
    module = import_module(f"connectors.platforms.{platform_name(name)}")
    module_platform = module.PLATFORM
    assert isinstance(module_platform, Platform)  # noqa: S101 - each module says so
    return module_platform


@cache
def platform_words(name: str) -> Mapping[str, Any]:
    """`connectors.base.PostbackWords` of a platform as a dict; empty for a platform that no longer exists."""
    try:
        words: dict[str, Any] = msgspec.to_builtins(platform(name).words)
    except (Missing, ModuleNotFoundError):
        return {}
    return words
