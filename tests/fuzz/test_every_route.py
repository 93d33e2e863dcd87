"""Every route, asked in every way: headers that protect on each answer, and no fault of ours."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.core.command import COMMANDS
from hub.runtime.settings import Settings
from hub.web.app import create_app
from tests.fuzz.filled import filled_hub
from tests.journeys.deployment import Deployment

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE")
VISITORS = ("/c/x", "/go/a/b", "/postback/x", "/s/x", "/i/x")
OTHERS = ("/", "/nope", "/cockpit/static/x/y", *VISITORS)
EVERYWHERE = {"x-content-type-options"}
FOR_THE_TEAM = EVERYWHERE | {
    "content-security-policy", "referrer-policy", "x-frame-options", "cross-origin-opener-policy", "x-request-id",
}  # fmt: skip


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Deployment]:
    with filled_hub(tmp_path) as deployment:
        yield deployment


@pytest.mark.slow
def test_every_answer_has_the_headers_that_protect(hub: Deployment, tmp_path: Path) -> None:
    app = create_app(Settings(secret_key="x" * 32, database_url=f"sqlite+aiosqlite:///{tmp_path}/other.db"))
    commands = {f"/api/v1/{name.replace(' ', '/')}" for name in COMMANDS}
    paths = sorted({re.sub(r"\{[^}]+\}", "1", route.path) for route in app.routes} | commands | set(OTHERS))
    assert len(paths) > 200
    faults = []
    for path in paths:
        headers = {"authorization": f"Bearer {hub.token}"} if path.startswith("/api") else {}
        for method in METHODS:
            with hub.http.stream(method, path, headers=headers) as answer:
                missing = (EVERYWHERE if path in VISITORS else FOR_THE_TEAM) - set(answer.headers)
                if missing or answer.status_code >= 500:
                    faults.append((method, path, answer.status_code, sorted(missing)))
    assert faults == []
