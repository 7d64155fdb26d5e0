"""The audit: ledger, labels and what waits between the hops, put together to one verdict."""

from __future__ import annotations

from broker.clock import now_ms
from workers import ledger
from workers.audit.books import BEFORE, OUTCOMES, Books, Hop
from workers.audit.deep import match
from workers.audit.faults import Cell, Fault, Sums, where
from workers.audit.labels import LabelSums, add_labels, compare
from workers.audit.report import Line, Report
from workers.audit.waiting import MOST, Waiting, earlier, waiting
from workers.kafka import admin
from workers.labels import classifier_of
from workers.offsets import offset_at
from workers.progress import Progress
from workers.settings import Settings
from workers.topics import READS, counts, label_topics
from workers.whole import read_whole

#: The ledger keeps its rows 400 days; a beginning that is gone earlier was taken away.
_EXPIRES_MS = 390 * 86_400_000


def audit(settings: Settings, deep: bool) -> Report:
    """Add up a namespace's ledger and labels; with `deep`, match each alert with its label.

    Labels are read before the ledger and again behind that place after it, so that on a stream at
    work what the ledger says lies between the two.

    Raises
    ------
    Failed
        There is no such namespace.
    """
    client, name = settings.kafka.client(), settings.namespace
    partitions = counts(settings, "ledger", "labels", "detections", "images")["detections"]
    report = Report(name, Books())
    books = report.books
    topics = label_topics(client, name)
    before = LabelSums()
    with report.timed("labels"), Progress("labels", unit="labels") as progress:
        for topic in topics:
            add_labels(client, topic, before, progress.at)
    least = LabelSums()
    for classifier, tallies in before.tallies.items():
        least.tallies[classifier] = _copy(tallies)
    with report.timed("ledger"), Progress("ledger", unit="transactions") as progress:
        for messages in read_whole(client, f"{name}.ledger"):
            for message in messages:
                _row(report, message.value() or b"", message.offset())
            progress.at(books.rows)
    with report.timed("labels"):
        for topic in topics:
            ends = {p: before.ends.get((topic, p), 0) for p in range(partitions)}
            add_labels(client, topic, before, lambda n: None, ends)
    report.labels = before.count
    with report.timed("waiting"):
        lags = {
            reader: waiting(client, name, partitions, books, reader, span)
            for reader, span in books.readers.items()
            if span in READS
        }
        early = {reader: earlier(client, name, books, reader) for reader in books.classifiers}
    for reader, what in early.items():
        _before(report, reader, what, lags[reader])
    _beginning(report, offset_at(admin(client), "earliest", f"{name}.ledger", 0))
    _close(report, lags)
    _labels(report, least, before)
    if deep:
        with report.timed("deep"):
            report.deep = match(client, name, partitions, books, lags, early)
        report.faults += report.deep.faults
    return report


def _row(report: Report, value: bytes, offset: int) -> None:
    try:
        row = ledger.read(value)
    except (ValueError, LookupError, EOFError, TypeError) as error:
        words = f"ledger row {offset} cannot be read: {error}"
        report.faults.append(Fault("unreadable", words, {"ledger": offset}))
        return
    report.books.add(row, offset)


def _before(report: Report, reader: str, early: Waiting, lag: Waiting) -> None:
    """Alerts that were there before a classifier was: it was to label those behind them only.

    Where their images are gone, all that it has neither answered nor waits for counts as such.
    """
    if not early.offsets:
        return
    books, hop = report.books, report.books.hops["classify"]
    before = books.tallies[reader, BEFORE]
    for cell in sorted(hop.passed):
        known = early.sums is not None
        every = early.of(cell) if known else hop.left(reader, cell).less(lag.of(cell))
        alerts = early.alerts[cell] if known else every
        before[cell].add(alerts.count, alerts.total)
        hop.taken[reader][cell].add(every.count, every.total)
        if books.last is not None:
            hop.check(reader, cell, books.last)
    n = sum(before[cell].count for cell in before)
    told = "" if early.sums is not None else ", or more: their images are not there to be counted"
    report.notes.append(f"{name_of(reader)} is younger than the stream: {n:,} came before it{told}")


def _beginning(report: Report, start: int) -> None:
    """Whether the ledger, which begins with offset `start`, is whole from its first row on."""
    first = report.books.first
    if start == 0:
        return
    words = f"the ledger begins with row {start}: earlier ones are gone, no sum is whole"
    if first is not None and now_ms() - first.ms > _EXPIRES_MS:
        report.notes.append(words)
    else:
        report.faults.append(Fault("gap", words, {"ledger": start}))


def _close(report: Report, lags: dict[str, Waiting]) -> None:
    """What was received against what became of it, by survey partition and classifier."""
    books = report.books
    report.faults += books.faults
    late: dict[tuple[str, Cell], tuple[int, int]] = {}  # under way, missing
    for span, hop in books.hops.items():
        report.faults += hop.wrong.values()
        readers = [reader for reader, of in books.readers.items() if of == span]
        if not readers and any(hop.passed[cell].count for cell in hop.passed):
            n = sum(hop.passed[cell].count for cell in hop.passed)
            report.notes.append(f"under way: {span} has taken none of {n:,} alerts yet")
        for reader in readers:
            lag = lags[reader]
            if lag.offsets:
                report.notes.append(
                    f"under way: {lag.offsets:,} records wait for {reader}"
                    + ("" if lag.sums is not None else f" (more than {MOST:,}: not looked through)")
                )
            for cell in sorted({*hop.passed, *hop.taken[reader]}):
                late[reader, cell] = _left(report, hop, reader, cell, lag)
    cells = sorted({c for (r, _), sums in books.tallies.items() for c in sums})
    decode = [reader for reader, span in books.readers.items() if span == "decode"]
    curves = [reader for reader, span in books.readers.items() if span == "curves"]
    for classifier in books.classifiers or [""]:
        readers = [*decode, *curves, *([classifier] if classifier else [])]
        for cell in cells:
            outcomes = (*OUTCOMES, BEFORE)
            said = {o: sum(books.tally(r, o, cell) for r in readers) for o in outcomes}
            # curves says too what it withdrew, but its label has yet to be written
            if classifier:
                said["withdrawn"] = books.tally(classifier, "withdrawn", cell)
            received = sum(
                books.tally(d, o, cell) for d in decode for o in ("passed", "dead", "lost")
            )
            missing = sum(late.get((r, cell), (0, 0))[1] for r in readers)
            open_ = received - sum(said.values()) - missing
            name = name_of(classifier)
            way, doubled = max(open_, 0), max(-open_, 0)
            report.lines.append(Line(cell, name, received, said, way, missing, doubled))
    for (reader, outcome, cell), n in sorted(books.unknown.items()):
        if n:
            report.notes.append(
                f"{where(cell)}: {n:,} {outcome} by {reader}, of unknown origin: what could not be "
                "read, or was gone, does not tell its survey's partition"
            )


def _left(report: Report, hop: Hop, reader: str, cell: Cell, lag: Waiting) -> tuple[int, int]:
    """Alerts of a survey partition that are under way to a reader, and those that are missing."""
    left = hop.left(reader, cell)
    if left.count <= 0 or lag.sums is None:
        return max(left.count, 0), 0
    waits = lag.of(cell)
    there = {"topic": cell[0], "partition": cell[1], "reader": reader}
    last = hop.closed.get((reader, cell))
    since = f"since {last}, where they last agreed" if last else "from the beginning on"
    if left.count > waits.count:
        missing = left.count - waits.count
        words = f"{where(cell)}: {missing} alerts went to {reader} and got no outcome, {since}"
        place = {**there, "alerts": missing, **({"agreed": last.offset} if last else {})}
        report.faults.append(Fault("missing", words, place))
        return waits.count, missing
    if left.count == waits.count and left != waits and (reader, cell) not in hop.wrong:
        words = (
            f"{where(cell)}: {left.count} alerts wait for {reader} as the ledger says, but not the "
            f"same ones: the sums of their hashes differ {since}"
        )
        report.faults.append(Fault("sum", words, there))
    return left.count, 0


def _labels(report: Report, least: LabelSums, most: LabelSums) -> None:
    books = report.books
    said = {
        (reader, outcome): sums
        for (reader, outcome), sums in books.tallies.items()
        if outcome in ("labelled", "unclassified")
    }
    for reader in books.classifiers:
        both = Sums()
        for outcome in ("withdrawn", "notice"):
            for cell, part in books.tallies[reader, outcome].by_cell.items():
                both[cell].add(part.count, part.total)
        said[reader, "withdrawn"] = both
    names = {reader: name_of(reader) for reader in books.classifiers}
    if "classify" in names and len(most.tallies) == 1:  # rows of the first version name none
        names["classify"] = classifier_of(next(iter(most.tallies)))
    faults, moving = compare(least, most, said, names)
    report.faults += most.faults + faults
    if moving:
        report.notes.append(f"under way: {moving:,} labels are newer than the ledger's last row")


def name_of(group: str) -> str:
    """The classifier of a group: `nightjar.classify.crts-rows` is that of crts-rows."""
    return group.partition(".classify.")[2] or group


def _copy(tallies: ledger.Tallies) -> ledger.Tallies:
    return ledger.Tallies(tallies.count.copy(), tallies.sum.copy())
