"""A postback address ready to be pasted into a platform's panel, with that platform's macros where they are known."""

from collections.abc import Mapping

#: Platform -> our parameter -> the macro it fills in. From the vendors' help pages.
MACROS: Mapping[str, Mapping[str, str]] = {
    "smartico": {"click_id": "{{afp}}", "player_id": "{{registration_id}}"},
    "affise": {
        "click_id": "{sub1}", "event": "{goal}", "txn_id": "{transactionid}", "amount": "{sum}",
        "currency": "{currency}", "status": "{status}", "occurred_at": "{timestamp}",
    },
    "everflow": {"click_id": "{sub1}", "txn_id": "{transaction_id}", "amount": "{revenue}"},
}  # fmt: skip
_USUAL = {
    "click_id": "{click_id}", "event": "{event}", "txn_id": "{transaction_id}", "amount": "{amount}",
    "currency": "{currency}",
}  # fmt: skip


def template_url(url: str, platform: str, theirs: Mapping[str, str]) -> str:
    """The address with `click_id={…}&event=…`; unknown macros are written as the parameter's own name."""
    macros = MACROS.get(platform)
    if macros is None:
        named = {ours: f"{{{name}}}" for name, ours in theirs.items()}
        macros = {**_USUAL, **{ours: macro for ours, macro in named.items() if ours in _USUAL}}
    parameters = dict(macros)
    parameters.setdefault("event", "EVENT")
    return url + "?" + "&".join(f"{ours}={macro}" for ours, macro in parameters.items())
