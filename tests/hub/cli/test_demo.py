"""The demo waits for its hub for as long as the process lives, shows that it waits, and says when it has ended."""

import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hub.cli import demo


def slowed(monkeypatch: pytest.MonkeyPatch, folder: Path, first: str) -> None:
    """Have each process of the demo do `first` before it begins."""
    starter = folder / "python"
    starter.write_text(f'#!/bin/sh\n{first}\nexec {sys.executable} "$@"\n')
    starter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(starter))


@pytest.mark.slow
async def test_a_hub_that_starts_slowly_is_waited_for_and_the_wait_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slowed(monkeypatch, tmp_path, "sleep 1")
    monkeypatch.setattr(demo, "SHOW_EVERY", 0.2)
    async with AsyncExitStack() as stack:
        show = demo.Demo(tmp_path, stack)
        await show._start_hub()
        await show._stop_hub()
    assert "… still waiting for the hub (" in capsys.readouterr().out


async def test_a_hub_that_ends_fails_the_demo_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slowed(monkeypatch, tmp_path, "exit 3")
    async with AsyncExitStack() as stack:
        with pytest.raises(demo.DemoFailed, match="the hub has ended while the demo waited for the hub"):
            await demo.Demo(tmp_path, stack)._start_hub()


@pytest.mark.slow
async def test_the_demos_players_are_people_who_reach_the_casino(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with AsyncExitStack() as stack:
        show = demo.Demo(tmp_path, stack)
        await show.lifecycle()
        async with show._shell(quiet=True) as run:
            report = await run("stats yesterday by offer offer=lucky-star-spring")
            countries = await run("stats yesterday by country campaign=spring-push")
    (row,) = report["rows"]
    assert (row["clicks"], row["registrations"]["merged"], row["first_deposits"]["merged"]) == (40, 12, 4)
    assert {row["group"]["country"]: row["clicks"] for row in countries["rows"]} == {"DE": 45, "AT": 15}
    assert "60 clicks redirected, 40 went on to the casino, 17 postbacks accepted" in capsys.readouterr().out
