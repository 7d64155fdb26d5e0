"""Progress: plain lines now and then in a file, one moving line on a terminal."""

from __future__ import annotations

import io

from workers.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_are_few() -> None:
    out, now = io.StringIO(), [0.0]
    with Progress("name", total=1000, unit="alerts", stream=out, clock=lambda: now[0]) as progress:
        for done in range(1, 601):
            now[0] += 0.05
            progress.at(done)
    lines = out.getvalue().splitlines()
    assert len(lines) <= 4
    assert "\r" not in out.getvalue()
    assert lines[0] == "name  200 of 1,000 alerts  20/s  40 s left"
    assert lines[-1] == "name  600 of 1,000 alerts  20/s  in 30.0 s"


def test_a_terminal_sees_one_line_move() -> None:
    out, now = Terminal(), [100.0]
    with Progress("name", unit="alerts", stream=out, clock=lambda: now[0]) as progress:
        now[0] += 2
        progress.at(50, total=100)
    assert out.getvalue().count("\n") == 1
    assert "[############------------]  50 of 100 alerts  25/s  2 s left" in out.getvalue()
