"""The demo, small: it ends by itself and its sum closes. `make demo` is the same with more sky."""

from __future__ import annotations

import re
from pathlib import Path

from commands import nightjar


def test_the_demo_ends_and_the_sum_closes(tmp_path: Path) -> None:
    done = nightjar("demo", "--objects", "60", "--nights", "60", cwd=tmp_path, seconds=240)
    assert done.returncode == 0, done.stdout + done.stderr
    text = done.stdout
    assert "the sum closes" in text
    for words in ("labelled", "Right names", "Not in the model", "packet to label", "alerts/s"):
        assert words in text
    received = int(
        re.search(r"received.*?([\d,]+)", text.split("outcome")[1]).group(1).replace(",", "")
    )
    assert received > 2000
    again = nightjar("demo", "--objects", "40", "--nights", "60", cwd=tmp_path, seconds=240)
    assert again.returncode == 0, again.stdout + again.stderr
