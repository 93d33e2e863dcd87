"""What the log says of a chat's line that failed: the command, never what follows it."""

import pytest

from bot.chat.session import broken


@pytest.mark.parametrize(("line", "logged"), [
    ("join uTvX-invitation", "join"), ("/join uTvX-invitation", "join"),
    ("/token create name=x", "token create"), ("audit uTvX-invitation", "audit"),
    ("account add affilka token=uTvX-invitation", "account add"),
])  # fmt: skip
def test_a_line_that_failed_is_logged_by_its_command_alone(
    caplog: pytest.LogCaptureFixture, line: str, logged: str
) -> None:
    broken(line)
    assert caplog.messages == [f"a command failed: {logged}"]
