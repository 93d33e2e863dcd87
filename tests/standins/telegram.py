"""A stand-in for Telegram's Bot API: /bot<token>/<method>, and updates by webhook or long polling.

Control (`POST` JSON under /_control/):
  say       {"text", "chat", "user", "kind": "private"|"supergroup", "thread", "reply_to"}: a message reaches the bot
  file      {"name", "base64"}: what getFile finds; `say` with "media": {"photo": …} makes its text the caption
  press     {"data", "message_id", "chat", "user"}: an inline button
  inline    {"query", "user"}: someone types `@bot query` in any chat
  update    {…}: any update, sent as it is (with an update_id if it has none)
  member    {"chat", "status"}: the bot is kicked, blocked or let in
  fail      {"method", "code", "description", "parameters", "times", "chat", "slow": seconds}
  reset     forget calls and failures; `restart` all but the numbers
`GET /_control/calls` lists calls {"method", "body", "at"}; `GET /_control/chat?chat=` the messages standing there.
"""

import base64
import html.parser
import itertools
import json
import re
import threading
import time
import urllib.error
import urllib.request
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qs, unquote

from hub.cli.standins.web import StubAnswer, StubRequest, main

TOKEN = "123456:stand-in-token"
CHAT_DETAILS = {  # what getChat must say: https://core.telegram.org/bots/api#chatfullinfo
    "accent_color_id": 0, "max_reaction_count": 11,
    "accepted_gift_types": {
        "unlimited_gifts": False, "limited_gifts": False, "unique_gifts": False, "premium_subscription": False,
        "gifts_from_channels": False,
    },
}  # fmt: skip
BOT = {"id": 123456, "is_bot": True, "first_name": "CasinoFlux", "username": "casinoflux_standin_bot"}


class Telegram:
    """One bot's Telegram."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._messages = itertools.count(100)
        self._updates = itertools.count(1)
        self._begin()

    def _begin(self) -> None:
        self.webhook: dict[str, Any] = {}
        self.queue: list[dict[str, Any]] = []
        self.chats: dict[str, list[dict[str, Any]]] = {}
        self.sent: dict[str, str] = {}
        self._forget()

    def _forget(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.failing: list[dict[str, Any]] = []

    def __call__(self, request: StubRequest) -> StubAnswer:
        if request.path.startswith("/_control/"):
            return self._control(request.path.removeprefix("/_control/"), request)
        if unquote(request.path).startswith(f"/file/bot{TOKEN}/"):
            return StubAnswer(body=base64.b64decode(self.sent[request.path.rpartition("/")[2]]))
        match = re.fullmatch(r"/bot([^/]+)/(\w+)", request.path)
        if match is None or match[1] != TOKEN:
            return wrong(404 if match is None else 401, "Not Found" if match is None else "Unauthorized")
        body = read(request)
        method = match[2]
        if method != "getUpdates":
            with self._news:
                self.calls.append({"method": method, "body": body, "at": time.time()})
        if failing := self._failure(method, body):
            time.sleep(failing.get("slow", 0))
            return wrong(failing["code"], failing["description"], failing.get("parameters"))
        if method == "getChat":
            return right(chat_of(body["chat_id"]) | CHAT_DETAILS)
        return self._inline(body) if method == "answerInlineQuery" else self._answer(method, body)

    def _failure(self, method: str, body: dict[str, Any]) -> dict[str, Any] | None:
        with self._news:
            for item in self.failing:
                chat = item.get("chat")
                if item["method"] == method and item["times"] > 0 and chat in {None, str(body.get("chat_id"))}:
                    item["times"] -= 1
                    return item
        return None

    def _answer(self, method: str, body: dict[str, Any]) -> StubAnswer:
        match method:
            case "getMe":
                return right(BOT | {"can_join_groups": True, "can_read_all_group_messages": False})
            case "getWebhookInfo":
                return right({"url": self.webhook.get("url", ""), "pending_update_count": 0})
            case "setWebhook":
                self.webhook = body
            case "deleteWebhook":
                self.webhook = {}
            case "getUpdates":
                return right(self._poll(body))
            case "sendMessage" | "editMessageText":
                return self._text(method, body)
            case "editMessageReplyMarkup":
                return right(self._edit(body, {}))
            case "sendDocument" | "sendPhoto":
                return right(self._post(body, {"document": {"file_id": "f", "file_unique_id": "u"}}))
            case "getFile":
                name = body["file_id"]
                if name not in self.sent:
                    return wrong(400, "Bad Request: wrong file_id or the file is temporarily unavailable")
                return right({"file_id": name, "file_unique_id": name, "file_path": f"photos/{name}"})
            case "deleteMessage":
                self.chats[str(body["chat_id"])] = [
                    item
                    for item in self.chats.get(str(body["chat_id"]), [])
                    if item["message_id"] != int(body["message_id"])
                ]
        return right(True)

    def _text(self, method: str, body: dict[str, Any]) -> StubAnswer:
        text, entities_fault = read_html(body["text"])
        if entities_fault:
            return wrong(400, f"Bad Request: can't parse entities: {entities_fault}")
        if len(text.encode("utf-16-le")) // 2 > 4096 or not text.strip():
            return wrong(400, "Bad Request: message is too long" if text.strip() else "Bad Request: text is empty")
        for row in (body.get("reply_markup") or {}).get("inline_keyboard", []):
            for key in row:
                if len(key.get("callback_data", "x").encode()) not in range(1, 65):
                    return wrong(400, "Bad Request: BUTTON_DATA_INVALID")
        content = {"text": text, "html": body["text"]}
        return right(self._edit(body, content) if method == "editMessageText" else self._post(body, content))

    def _inline(self, body: dict[str, Any]) -> StubAnswer:
        """https://core.telegram.org/bots/api#answerinlinequery: 50 results, each id once and of at most 64 bytes."""
        results = body["results"]
        ids = {result["id"] for result in results}
        if len(results) > 50 or len(ids) < len(results) or any(len(item.encode()) not in range(1, 65) for item in ids):
            return wrong(400, "Bad Request: RESULT_ID_INVALID")
        for result in results:
            text, fault = read_html(result["input_message_content"]["message_text"])
            if fault or not 0 < len(text) <= 4096 or not result["title"]:
                return wrong(400, f"Bad Request: can't parse entities: {fault}")
        return right(True)

    def _post(self, body: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
        message = {
            "message_id": next(self._messages), "date": int(time.time()), "from": BOT, "chat": chat_of(body["chat_id"]),
        } | content  # fmt: skip
        if keyboard := body.get("reply_markup"):
            message["reply_markup"] = keyboard
        if thread := body.get("message_thread_id"):
            message |= {"message_thread_id": int(thread), "is_topic_message": True}
        self.chats.setdefault(str(body["chat_id"]), []).append(message)
        return message

    def _edit(self, body: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
        for message in self.chats.get(str(body["chat_id"]), []):
            if message["message_id"] == int(body["message_id"]):
                message.pop("reply_markup", None)
                message |= content | ({"reply_markup": body["reply_markup"]} if body.get("reply_markup") else {})
                return message
        return {"message_id": int(body["message_id"]), "date": 0, "chat": chat_of(body["chat_id"])} | content

    def _poll(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        offset, until = int(body.get("offset", 0)), time.time() + float(body.get("timeout", 0))
        with self._news:
            self.queue = [item for item in self.queue if item["update_id"] >= offset]
            while not self.queue and (remaining := until - time.time()) > 0:
                self._news.wait(remaining)
            return list(self.queue)

    def _control(self, what: str, request: StubRequest) -> StubAnswer:
        if what == "calls":
            with self._news:
                return StubAnswer(body=list(self.calls))
        if what == "chat":
            return StubAnswer(body=self.chats.get(request.parameter("chat"), []))
        if what == "webhook":
            return StubAnswer(body=self.webhook)
        body = request.json()
        match what:
            case "reset" | "restart":
                {"reset": self._forget, "restart": self._begin}[what]()
            case "fail":
                self.failing.append({"times": 1, "code": 400, "description": ""} | body)
            case "say":
                return self._deliver({"message": self._said(body)})
            case "file":
                self.sent[body["name"]] = body["base64"]
            case "press":
                return self._deliver({"callback_query": self._pressed(body)})
            case "inline":
                query = {"id": str(next(self._updates)), "from": person(body), "query": body["query"], "offset": ""}
                return self._deliver({"inline_query": query})
            case "member":
                return self._deliver({"my_chat_member": self._member(body)})
            case "update":
                return self._deliver(body)
        return StubAnswer(body={})

    def _said(self, body: dict[str, Any]) -> dict[str, Any]:
        chat = body.get("chat", body.get("user", 42))
        message = {
            "message_id": next(self._messages), "date": int(time.time()), "from": person(body), "chat": chat_of(chat),
            "text": body["text"],
        }  # fmt: skip
        if "media" in body:
            message |= body["media"] | {"caption": message.pop("text")}
        if body["text"].startswith("/"):
            length = len(body["text"].split()[0])
            name = "caption_entities" if "media" in body else "entities"
            message[name] = [{"type": "bot_command", "offset": 0, "length": length}]
        if "reply_to" in body:
            message["reply_to_message"] = next(
                {name: value for name, value in chat.items() if name not in {"html", "reply_markup"}}
                for chat in self.chats[str(chat)]
                if chat["message_id"] == body["reply_to"]
            )
        if "thread" in body:
            message |= {"message_thread_id": body["thread"], "is_topic_message": True}
        self.chats.setdefault(str(chat), []).append(message)
        return message

    def _pressed(self, body: dict[str, Any]) -> dict[str, Any]:
        chat = body.get("chat", body.get("user", 42))
        standing = self.chats.get(str(chat), [])
        message = next((item for item in standing if item["message_id"] == body["message_id"]), None)
        message = {k: v for k, v in (message or {}).items() if k != "html"}
        return {
            "id": str(next(self._updates)), "from": person(body), "chat_instance": "1", "data": body["data"],
            "message": message,
        }  # fmt: skip

    def _member(self, body: dict[str, Any]) -> dict[str, Any]:
        now = {"user": BOT, "status": body["status"]} | ({"until_date": 0} if body["status"] == "kicked" else {})
        return {
            "chat": chat_of(body["chat"]), "from": person(body), "date": int(time.time()),
            "old_chat_member": {"user": BOT, "status": "member"}, "new_chat_member": now,
        }  # fmt: skip

    def _deliver(self, update: dict[str, Any]) -> StubAnswer:
        """To the webhook, or into the queue that is polled."""
        update = {"update_id": next(self._updates)} | update
        if not self.webhook:
            with self._news:
                self.queue.append(update)
                self._news.notify_all()
            return StubAnswer(body={"status": 0, "update_id": update["update_id"]})
        headers = {"Content-Type": "application/json"}
        if secret := self.webhook.get("secret_token"):
            headers["X-Telegram-Bot-Api-Secret-Token"] = secret
        request = urllib.request.Request(self.webhook["url"], json.dumps(update).encode(), headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status = answer.status
        except urllib.error.HTTPError as error:
            status = error.code
        return StubAnswer(body={"status": status, "update_id": update["update_id"]})


def right(result: Any) -> StubAnswer:
    return StubAnswer(body={"ok": True, "result": result})


def wrong(code: int, description: str, parameters: dict[str, Any] | None = None) -> StubAnswer:
    body = {"ok": False, "error_code": code, "description": description}
    return StubAnswer(code, body | ({"parameters": parameters} if parameters else {}))


def person(body: dict[str, Any]) -> dict[str, Any]:
    return {"id": body.get("user", 42), "is_bot": False, "first_name": body.get("name", "Anna")}


def chat_of(chat: Any) -> dict[str, Any]:
    if int(chat) < 0:
        return {"id": int(chat), "type": "supergroup", "title": f"Group {chat}"}
    return {"id": int(chat), "type": "private", "first_name": "Anna"}


class _Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.text, self.fault = "", ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in {"b", "i", "u", "s", "a", "pre", "code"}:
            self.fault = self.fault or f'unsupported start tag "{tag}"'
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.fault = self.fault or f'unexpected end tag "{tag}"'

    def handle_data(self, data: str) -> None:
        self.text += data


def read_html(text: str) -> tuple[str, str]:
    """What a reader sees of HTML, and what is wrong with it."""
    tags = _Tags()
    tags.feed(text)
    tags.close()
    return tags.text, tags.fault or ("an open tag" if tags.open else "")


def read(request: StubRequest) -> dict[str, Any]:
    """A call's parameters: a form, JSON, or multipart; objects in them are JSON."""
    kind = request.headers.get("content-type", "")
    if kind.startswith("application/json"):
        return dict(request.json())
    if kind.startswith("multipart/"):
        parsed = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + request.body)
        form = {}
        for part in parsed.iter_parts():
            name = part.get_param("name", header="content-disposition")
            content = part.get_payload(decode=True)
            form[str(name)] = content.decode("utf-8", "replace") if isinstance(content, bytes) else ""
    else:
        form = {name: values[0] for name, values in parse_qs(request.body.decode(), keep_blank_values=True).items()}
    return {k: json.loads(v) if v[:1] in "[{" and v[-1:] in "]}" and k != "text" else v for k, v in form.items()}


if __name__ == "__main__":
    main(Telegram)
