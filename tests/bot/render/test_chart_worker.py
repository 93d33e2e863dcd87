"""Charts come from a process beside the hub, the same as drawn here, whatever happens to it."""

from bot.core.message import Chart, Series
from bot.render.chart_png import draw
from bot.render.chart_worker import Painter


def chart(title: str) -> Chart:
    return Chart(title, ("1 Oct", "2 Oct", "3 Oct"), (Series("FTD", (1.0, None, float(len(title)))),))


async def test_a_picture_is_drawn_beside_the_hub_and_once_only() -> None:
    painter = Painter()
    assert await painter.draw(chart("a")) == draw(chart("a"))
    assert await painter.draw(chart("a")) is await painter.draw(chart("a"))


async def test_a_picture_is_drawn_although_the_process_has_ended() -> None:
    painter = Painter()
    await painter.draw(chart("a"))
    assert painter._child is not None
    painter._child.kill()
    assert await painter.draw(chart("other")) == draw(chart("other"))
