from __future__ import annotations

from broker.taxonomy import DESC, IDS, NOT_CLASSIFIED, RESIDUAL


def test_every_kind_we_name_has_an_id_of_the_taxonomy() -> None:
    assert set(IDS.values()) <= set(DESC)
    assert DESC[RESIDUAL] == "Residual"
    assert DESC[NOT_CLASSIFIED] == "NotClassified"


def test_every_class_has_its_parents() -> None:
    """Each digit is one level: 2222 lies in 2220, 2200 and 2000."""
    for number in DESC:
        if number >= 1000:
            assert number // 10 * 10 in DESC
            assert number // 100 * 100 in DESC
            assert number // 1000 * 1000 in DESC
