from __future__ import annotations

from pathlib import Path

import pytest

from models.studies import parts


def test_parts_go_on_where_they_were_cut(tmp_path: Path) -> None:
    runs = []

    def part(name: str) -> parts.Result:
        runs.append(name)
        if name == "b" and len(runs) < 3:
            raise KeyboardInterrupt
        return {"name": name}

    todo = {name: (lambda name=name: part(name)) for name in ("a", "b", "c/d")}
    with pytest.raises(KeyboardInterrupt):
        parts.run(todo, tmp_path, {"seed": 1}, (), lambda _: None)
    done = parts.run(todo, tmp_path, {"seed": 1}, (), lambda _: None)
    assert runs == ["a", "b", "b", "c/d"]
    assert [r["name"] for r in done.values()] == ["a", "b", "c/d"]
    again = parts.run(todo, tmp_path, {"seed": 2}, ("c/*",), lambda _: None)
    assert runs[4:] == ["c/d"]  # under another seed all is new; what was not asked for is not run
    assert list(again) == ["c/d"]
