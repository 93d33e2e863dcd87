"""A stand-in for Slack: its Web API (with limits checked), response URLs, and signed requests to our hub.

The Web API is under /api/. Control (`POST` JSON under /_control/):
  setup     {"hub": address of ours, "signing_secret"}
  command   {"text", "channel", "user", …}: a slash command, signed and sent; answers with what came back
  mention   {"text", "channel", "user", "thread"}: an app_mention; `direct` the same in private
  press     {"value", "message", "channel", "user", "hidden"}: a button
  submit    {"view", "values": {block: value}, "user"}: a modal is sent in; `choose` and `suggest` act in an open one
  home      {"user"}: the App Home is opened; `event` {"event", "event_id"}; `raw` {"body", "headers", "skew", "secret"}
  fail      {"method", "error" | "status", "retry_after", "times"}: the next calls of a method fail
  file      {"name", "base64"}: what /files/<name> gives to whom has the bot's token
  reset     forget calls, failures and views; `restart` all but the numbers
`GET /_control/calls` lists Web API calls and responses: {"method", "body"}.
"""

import base64
import hashlib
import hmac
import itertools
import json
import threading
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import parse_qs, urlencode

from hub.cli.standins.web import StubAnswer, StubRequest, main
from tests.standins.slack_limits import fault

WORKSPACE = "T0STANDIN"
BOT = "U0BOT"


class Slack:
    """One workspace."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._begin()

    def _begin(self) -> None:
        self.setup: dict[str, Any] = {"hub": "", "signing_secret": "stand-in-signing-secret", "workspace": WORKSPACE}
        self.sent: dict[str, str] = {}
        self._forget()

    def _forget(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.failing: list[dict[str, Any]] = []
        self.views: dict[str, dict[str, Any]] = {}

    def __call__(self, request: StubRequest) -> StubAnswer:
        if request.path.startswith("/_control/"):
            return self._control(request.path.removeprefix("/_control/"), request)
        if request.path.startswith("/_response/"):
            return self._response(request)
        if request.path.startswith("/_upload/"):
            self._keep("upload", {"content": request.body.decode("utf-8", "replace")})
            return StubAnswer(body=b"OK", headers={"Content-Type": "text/plain"})
        if request.path.startswith("/files/"):
            return self._file(request)
        return self._api(request.path.removeprefix("/api/"), request)

    def _file(self, request: StubRequest) -> StubAnswer:
        """What people sent; without the bot's token the page of a login, as Slack does it."""
        if not request.headers.get("authorization", "").startswith("Bearer xoxb-"):
            return StubAnswer(body=b"<!doctype html>sign in", headers={"Content-Type": "text/html; charset=utf-8"})
        content = base64.b64decode(self.sent[request.path.removeprefix("/files/")])
        return StubAnswer(body=content, headers={"Content-Type": "image/png"})

    def _keep(self, method: str, body: dict[str, Any], token: str = "") -> None:
        with self._lock:
            self.calls.append({"method": method, "body": body, "token": token, "at": time.time()})

    def _response(self, request: StubRequest) -> StubAnswer:
        body = request.json()
        self._keep("response", body | {"response_url": request.path})
        wrong = fault(body) if not body.get("delete_original") else None
        return StubAnswer(400, b"invalid_blocks") if wrong else StubAnswer(body=b"ok")

    def _api(self, method: str, request: StubRequest) -> StubAnswer:
        body = dict(request.query) | read(request)
        self._keep(method, body, request.headers.get("authorization", "").removeprefix("Bearer "))
        if failing := self._failure(method, body):
            headers = {"Retry-After": str(failing["retry_after"])} if "retry_after" in failing else {}
            answer = {"ok": False, "error": failing.get("error", "ratelimited")}
            return StubAnswer(failing.get("status", 200), answer, headers)
        if wrong := fault(body) if method.startswith("chat.") else None:
            return StubAnswer(body={"ok": False, "error": "invalid_blocks", "response_metadata": {"messages": [wrong]}})
        return StubAnswer(body={"ok": True} | self._result(method, body))

    def _failure(self, method: str, body: dict[str, Any]) -> dict[str, Any] | None:
        with self._lock:
            for item in self.failing:
                channel = item.get("channel")
                if item["method"] == method and item["times"] > 0 and channel in {None, body.get("channel")}:
                    item["times"] -= 1
                    return item
        return None

    def _result(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        match method:
            case "auth.test":
                return {"user_id": BOT, "bot_id": "B0BOT", "team_id": self.setup["workspace"], "user": "casinoflux"}
            case "chat.postMessage" | "chat.update":
                ts = body.get("ts") or f"{int(time.time())}.{number:06}"
                return {"channel": body["channel"], "ts": ts, "message": body}
            case "chat.postEphemeral":
                return {"message_ts": f"{int(time.time())}.{number:06}"}
            case "views.open" | "views.update" | "views.publish":
                shown = body["view"] if isinstance(body["view"], dict) else json.loads(body["view"])
                view_id = body.get("view_id") or f"V{number}"
                shown = shown | {"id": view_id, "team_id": self.setup["workspace"]}
                self.views[view_id] = shown
                return {"view": shown}
            case "users.info":
                return {"user": {"id": body["user"], "name": "anna", "real_name": "Anna Example"}}
            case "files.getUploadURLExternal":
                return {"upload_url": f"{self.setup['own']}/_upload/F{number}", "file_id": f"F{number}"}
            case "files.completeUploadExternal":
                return {"files": [{"id": f"F{number}"}]}
            case "oauth.v2.access":
                return {"access_token": "xoxb-installed", "team": {"id": "T0OTHER", "name": "Other Team"}}
            case "conversations.info":
                return {"channel": {"id": body["channel"], "name": "general"}}
            case "conversations.open":
                return {"channel": {"id": f"D{body['users']}"}}
        return {}

    def _control(self, what: str, request: StubRequest) -> StubAnswer:
        if what == "calls":
            with self._lock:
                return StubAnswer(body=list(self.calls))
        body = request.json()
        match what:
            case "setup":
                self.setup |= body | {"own": f"http://{request.headers['host']}"}
            case "restart":
                self._begin()
            case "reset":
                self._forget()
            case "file":
                self.sent[body["name"]] = body["base64"]
            case "views":
                return StubAnswer(body=list(self.views))
            case "fail":
                self.failing.append({"times": 1} | body)
            case "raw":
                return self._send(body["body"], **{k: v for k, v in body.items() if k != "body"})
            case _:
                return self._send(getattr(self, "_" + what)(body), kind="json" if what in EVENTS else "form")
        return StubAnswer(body={})

    def _send(
        self, body: str, *, kind: str = "form", skew: float = 0, secret: str = "", headers: dict[str, str] | None = None
    ) -> StubAnswer:  # fmt: skip
        """Sign as Slack does (https://docs.slack.dev/authentication/verifying-requests-from-slack) and send."""
        stamp = str(int(time.time() + skew))
        key = (secret or self.setup["signing_secret"]).encode()
        signature = "v0=" + hmac.new(key, f"v0:{stamp}:{body}".encode(), hashlib.sha256).hexdigest()
        kinds = {"json": "application/json", "form": "application/x-www-form-urlencoded"}
        sent = {"Content-Type": kinds[kind], "X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": signature}
        request = urllib.request.Request(
            f"{self.setup['hub']}/slack/events", body.encode(), sent | (headers or {}), method="POST"
        )
        began = time.time()
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        return StubAnswer(
            body={"status": status, "body": text, "seconds": time.time() - began, "headers": sent, "sent": body}
        )

    def _command(self, body: dict[str, Any]) -> str:
        number = next(self._numbers)
        own = {
            "command": "/flux", "team_id": self.setup["workspace"], "channel_name": "general", "token": "x",
            "user_name": "anna", "trigger_id": f"{number}.trigger", "api_app_id": "A0",
            "response_url": f"{self.setup['own']}/_response/{number}",
        }  # fmt: skip
        arguments = {k: v for k, v in body.items() if k not in {"user", "channel"}}
        own |= {"user_id": body.get("user", "U0ANNA"), "channel_id": body.get("channel", "C0GENERAL")}
        return urlencode(own | arguments)

    def _event(self, body: dict[str, Any]) -> str:
        number = next(self._numbers)
        return json.dumps({
            "type": "event_callback", "team_id": self.setup["workspace"], "api_app_id": "A0", "token": "x",
            "event_id": body.get("event_id", f"Ev{number}"), "event_time": int(time.time()), "event": body["event"],
            "authorizations": [{"team_id": self.setup["workspace"], "user_id": BOT, "is_bot": True}],
        })  # fmt: skip

    def _heard(self, kind: str, body: dict[str, Any], **more: Any) -> dict[str, Any]:
        number = next(self._numbers)
        event = {
            "type": kind, "user": body.get("user", "U0ANNA"), "channel": body.get("channel", "C0GENERAL"),
            "text": body["text"], "ts": f"{int(time.time())}.{number:06}",
        }  # fmt: skip
        event |= {name: body[name] for name in ("files", "subtype") if name in body}
        return event | more | ({"thread_ts": body["thread"]} if "thread" in body else {})

    def _mention(self, body: dict[str, Any]) -> str:
        return self._event(body | {"event": self._heard("app_mention", body | {"text": f"<@{BOT}> {body['text']}"})})

    def _direct(self, body: dict[str, Any]) -> str:
        body = {"channel": "D0ANNA"} | body
        return self._event(body | {"event": self._heard("message", body, channel_type="im")})

    def _home(self, body: dict[str, Any]) -> str:
        event = {"type": "app_home_opened", "user": body["user"], "channel": "D0ANNA", "tab": "home"}
        return self._event({"event": event})

    def _interaction(self, kind: str, body: dict[str, Any], **more: Any) -> str:
        number = next(self._numbers)
        payload = {
            "type": kind, "team": {"id": self.setup["workspace"]}, "api_app_id": "A0", "token": "x",
            "user": {"id": body.get("user", "U0ANNA"), "username": "anna", "team_id": self.setup["workspace"]},
            "trigger_id": f"{number}.trigger",
        }  # fmt: skip
        return urlencode({"payload": json.dumps(payload | more)})

    def _press(self, body: dict[str, Any]) -> str:
        """Press the button with this value (of any call's blocks), in its channel."""
        channel = body.get("channel", "C0GENERAL")
        message = body.get("message") or {"ts": "1.000001", "text": "", "blocks": []}
        elements = [e for b in message.get("blocks", []) if b["type"] == "actions" for e in b["elements"]]
        button = next((e for e in elements if e.get("value") == body["value"]), None)
        action = button or {"type": "button", "action_id": "run-1", "text": {"type": "plain_text", "text": "Press"}}
        return self._interaction(
            "block_actions", body, channel={"id": channel, "name": "general"}, message=message,
            container={"type": "message", "is_ephemeral": bool(body.get("hidden")), "channel_id": channel},
            response_url=f"{self.setup['own']}/_response/{next(self._numbers)}",
            actions=[action | {"value": body["value"], "block_id": "b", "action_ts": "1"}],
        )  # fmt: skip

    def _submit(self, body: dict[str, Any]) -> str:
        """Send a modal in, with these values over what it was filled with."""
        return self._interaction("view_submission", body, view=self._state(body))

    def _choose(self, body: dict[str, Any]) -> str:
        """Choose in an open modal, or press a button in it, in a block that tells us at once."""
        action = {"type": "static_select", "action_id": "value", "block_id": body["block"], "action_ts": "1"}
        if "button" in body:
            blocks = self.views[body["view"]]["blocks"]
            buttons = next(block["elements"] for block in blocks if block.get("block_id") == body["block"])
            action |= next(button for button in buttons if button["value"] == body["button"])
        return self._interaction(
            "block_actions", body, view=self._state(body), actions=[action], container={"type": "view"}
        )

    def _state(self, body: dict[str, Any]) -> dict[str, Any]:
        view = dict(self.views[body["view"]])
        values = {}
        for block in view["blocks"]:
            if block["type"] == "input":
                arguments = body["values"].get(block["block_id"], Ellipsis)
                values[block["block_id"]] = {"value": filled(block["element"], arguments)}
        return view | {"state": {"values": values}, "hash": "h", "root_view_id": view["id"]}

    def _suggest(self, body: dict[str, Any]) -> str:
        view = self.views[body["view"]]
        return self._interaction(
            "block_suggestion", body, view=view, block_id=body["block"], action_id="value", value=body.get("value", "")
        )

    def _shortcut(self, body: dict[str, Any]) -> str:
        return self._interaction("shortcut", body, callback_id=body["callback_id"], action_ts="1")


EVENTS = {"mention", "direct", "event", "home"}


def filled(element: dict[str, Any], values: Any) -> dict[str, Any]:
    """The state of an input: as given, else as it was prefilled."""
    kind = element["type"]
    state: dict[str, Any] = {"type": kind}
    match kind:
        case "static_select" | "external_select":
            option = element.get("initial_option") if values is Ellipsis else values and {"value": values}
            return state | {"selected_option": option}
        case "multi_static_select" | "multi_external_select":
            options = element.get("initial_options", []) if values is Ellipsis else [{"value": item} for item in values]
            return state | {"selected_options": options}
        case "datepicker":
            return state | {"selected_date": element.get("initial_date") if values is Ellipsis else values}
    return state | {"value": element.get("initial_value") if values is Ellipsis else values}


def read(request: StubRequest) -> dict[str, Any]:
    """A call's arguments: JSON, or a form whose lists and objects are JSON."""
    if request.headers.get("content-type", "").startswith("application/json"):
        return dict(request.json())
    form = {name: values[0] for name, values in parse_qs(request.body.decode(), keep_blank_values=True).items()}
    return {k: json.loads(v) if v[:1] in "[{" and v[-1:] in "]}" else v for k, v in form.items()}


if __name__ == "__main__":
    main(Slack)
