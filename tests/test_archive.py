"""An archive read in the order of the sky, whatever it is packed in."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest

import schemas
from broker import archive, packet_files
from broker.decode import Decoder
from broker.packet_files import BrokenFile

ID = (91).to_bytes(4, "big")


def packet(number: int, mjd: float) -> bytes:
    """An ELAsTiCC alert, as small as they come, in Confluent framing."""
    source = {"diaSourceId": number, "diaObjectId": 5, "midPointTai": mjd, "filterName": "r"}
    source |= {"ra": 1.0, "decl": 2.0, "psFlux": 3.0, "psFluxErr": 1.0, "snr": 3.0}
    stream = io.BytesIO()
    schema = fastavro.parse_schema(schemas.find("elasticc/91"))
    fastavro.schemaless_writer(stream, schema, {"alertId": number, "diaSource": source})
    return b"\x00" + ID + stream.getvalue()


def write_tar(file: Path, values: list[bytes]) -> Path:
    with tarfile.open(file, "w:gz" if file.suffix == ".gz" else "w") as tar:
        for i, value in enumerate(values):
            info = tarfile.TarInfo(f"night/{i}.avro")
            info.size = len(value)
            tar.addfile(info, io.BytesIO(value))
    return file


def write_lengths(file: Path, values: list[bytes]) -> Path:
    file.write_bytes(b"".join(len(v).to_bytes(4, "little") + v for v in values))
    return file


def write_folder(folder: Path, values: list[bytes]) -> Path:
    for i, value in enumerate(values):
        file = folder / f"{i // 7}" / f"{i:03d}.avro"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(value)
    return folder


WRITERS: dict[str, Any] = {
    "night.tar.gz": write_tar,
    "night.tar": write_tar,
    "night.lenpfx": write_lengths,
    "night": write_folder,
}


def night(seed: int, n: int = 60) -> list[tuple[float, int]]:
    """(mjd, id) of a night's alerts, several at each time."""
    random = np.random.default_rng(seed)
    numbers = random.permutation(n) + 1
    return [
        (60000.0 + float(i) / 4 // 1, int(k))
        for i, k in zip(random.permutation(n), numbers, strict=True)
    ]


@pytest.mark.parametrize("kind", WRITERS)
def test_packets_come_in_order_of_time_and_id_not_of_the_file(kind: str, tmp_path: Path) -> None:
    alerts = night(1)
    values = [packet(number, mjd) for mjd, number in alerts]
    source = WRITERS[kind](tmp_path / kind, values)
    batches = list(archive.read([source], batch=16))
    assert [len(b.values) for b in batches] == [16, 16, 16, 12]
    order = sorted(range(len(alerts)), key=lambda i: alerts[i])
    assert [v for b in batches for v in b.values] == [values[i] for i in order]
    assert [o for b in batches for o in b.offset.tolist()] == order
    assert {b.topic for b in batches} == {kind}
    assert {p for b in batches for p in b.partition.tolist()} == {0}
    first = batches[0]
    assert first.published_ms[0] == round((60000 - 40587 - 37 / 86400) * 86_400_000)


def test_sources_are_merged_and_keep_their_names(tmp_path: Path) -> None:
    early, late = [(60000.0, 3), (60002.0, 1)], [(60001.0, 2), (60000.0, 9)]
    sources = [
        write_tar(tmp_path / "a.tar.gz", [packet(k, t) for t, k in early]),
        write_lengths(tmp_path / "b.lenpfx", [packet(k, t) for t, k in late]),
    ]
    found = [(b.topic, int(o)) for b in archive.read(sources) for o in b.offset]
    assert found == [("a.tar.gz", 0), ("b.lenpfx", 1), ("b.lenpfx", 0), ("a.tar.gz", 1)]


def test_broken_packets_come_first_as_they_stand(tmp_path: Path) -> None:
    values = [packet(1, 60001.0), b"<html>", packet(2, 60000.0), packet(3, 60000.0)[:-1]]
    source = write_tar(tmp_path / "night.tar.gz", values)
    (batch,) = archive.read([source])
    assert batch.offset.tolist() == [1, 3, 2, 0]
    assert batch.published_ms.tolist()[:2] == [0, 0]
    detections, letters = Decoder().decode(batch)
    assert detections.alerts["alert_id"].tolist() == [2, 1]
    assert [letter.reason for letter in letters] == ["html", "truncated"]


def test_a_file_of_lengths_that_ends_too_early_loses_nothing(tmp_path: Path) -> None:
    source = write_lengths(tmp_path / "night.lenpfx", [packet(1, 60001.0), packet(2, 60000.0)])
    whole = source.read_bytes()
    for cut in (1, len(packet(1, 1.0)), len(packet(1, 1.0)) + 2):
        source.write_bytes(whole[:-cut])
        values = [v for b in archive.read([source]) for v in b.values]
        left = whole[len(packet(1, 1.0)) + 4 : -cut]
        assert values == [left[4:] if len(left) >= 4 else left, packet(1, 60001.0)]
        source.write_bytes(whole)


def test_a_batch_ends_when_it_is_heavy_enough(tmp_path: Path) -> None:
    values = [packet(k, 60000.0) for k in range(1, 9)]
    source = write_lengths(tmp_path / "night.lenpfx", values)
    sizes = [len(b.values) for b in archive.read([source], batch_bytes=2 * len(values[0]))]
    assert sizes == [2, 2, 2, 2]


def test_the_spool_goes_when_the_reading_ends(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    source = write_tar(tmp_path / "night.tar.gz", [packet(k, 60000.0) for k in range(1, 5)])
    reading = archive.read([source], batch=1, spool=spool)
    next(reading)
    assert len(list(spool.iterdir())) == 1
    reading.close()  # type: ignore[attr-defined]
    assert list(spool.iterdir()) == []


def test_a_tar_that_was_cut_says_so(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    noise = [packet(k, 60000.0) + random.bytes(5000) for k in range(1, 9)]
    source = write_tar(tmp_path / "night.tar.gz", noise)
    source.write_bytes(source.read_bytes()[:-9000])
    with pytest.raises(BrokenFile, match=r"broken after [567] packets"):
        list(archive.read([source]))
    source.write_bytes(gzip.compress(b"no tar at all" * 100))
    with pytest.raises(BrokenFile):
        list(archive.read([source]))


def test_a_source_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        list(archive.read([tmp_path / "nowhere"]))


def test_more_files_than_may_be_open(tmp_path: Path) -> None:
    n = 3 * archive.OPEN_FILES
    source = write_folder(tmp_path / "many", [packet(n - k, 60000.0) for k in range(n)])
    assert sum(len(b.values) for b in archive.read([source])) == n


def test_the_public_night_comes_in_order(shared_data: Path) -> None:
    source = shared_data / "alerts" / "ztf" / "ampel" / "ztf_public_20180819_mod1000.tar.gz"
    decoder = Decoder(public_only=False)
    alerts = np.concatenate([decoder.decode(b)[0].alerts for b in archive.read([source], batch=8)])
    assert len(alerts) == 30
    assert sorted(alerts["offset"].tolist()) == list(range(30))
    order = list(zip(alerts["mjd_tai"].tolist(), alerts["alert_id"].tolist(), strict=True))
    assert order == sorted(order)
    assert alerts["offset"].tolist() != list(range(30))  # the tar has another order


def test_every_packet_of_the_shared_folder_comes_out_once(shared_data: Path) -> None:
    folder = shared_data / "alerts" / "ztf"
    there = sorted(
        item.value for f in packet_files.files(folder) for item in packet_files.packets(f)
    )
    read = [value for batch in archive.read([folder]) for value in batch.values]
    assert sorted(read) == there
    assert len(read) == 238
