"""`nightjar audit` on a real run: it closes; and each fault that is planted in it is named."""

from __future__ import annotations

import json
from collections.abc import Callable

from rewritten import Run, Said, Topics, changed_row
from streams import label

from workers.settings import Settings

MODEL = Settings().classify.models[0]


def only(said: Said, what: str) -> Said:
    """The one fault there is, which is of this kind."""
    assert [fault["what"] for fault in said["faults"]] == [what], said["faults"]
    return dict(said["faults"][0])


def test_a_good_run_closes_alert_by_alert(audited: Run) -> None:
    truth = audited.night.truth().to_pydict()
    code, said = audited.audit(audited.name, "--deep")
    assert (code, said["faults"], said["notes"]) == (0, [], [])
    (line,) = said["partitions"]
    assert line["topic"] == f"{audited.name}.packets"
    assert line["received"] == len(truth["deed"])
    assert line["dead"] == truth["deed"].count("corrupt") > 0
    repeated = truth["deed"].count("repeated")
    assert line["duplicate"] == repeated > 0
    answered = line["labelled"] + line["unclassified"]
    assert answered == len(audited.topics["labels"]) == said["labels"]
    assert line["under_way"] == line["missing"] == line["lost"] == 0
    assert said["deep"] == {
        "alerts": len(audited.topics["detections"]),
        "matched": len(audited.topics["labels"]),
        "repeats": repeated,
        "notices": 0,
        "under_way": 0,
        "expired": 0,
    }


def test_people_get_a_table(audited: Run) -> None:
    done = audited.nightjar("audit")
    assert done.returncode == 0, done.stderr
    first, heads, line, verdict = done.stdout.splitlines()
    assert f"{len(audited.topics['ledger']):,} transactions" in first
    assert heads.split()[:4] == ["survey", "partition", "classifier", "received"]
    assert line.split()[:2] == [f"{audited.name}.packets[0]", MODEL]
    assert verdict == "Nothing is missing, nothing is doubled: every alert has its one outcome."
    done = audited.nightjar("audit", namespace="nowhere")
    assert done.returncode == 1
    assert "there is no topic nowhere.ledger" in done.stderr


def test_a_label_that_was_removed(audited: Run) -> None:
    number = len(audited.topics["labels"]) // 2
    gone = label(audited.topics["labels"][number][2])
    name = audited.plant(lambda topics: topics["labels"].pop(number) and None)
    code, said = audited.audit(name, "--deep")
    assert (code, len(said["faults"])) == (1, 2)
    fault, one = said["faults"]
    assert fault["what"] == one["what"] == "missing"
    packets = f"{audited.name}.packets"
    assert (fault["topic"], fault["partition"], fault["labels"]) == (packets, 0, 1)
    assert fault["classifier"] == MODEL
    assert (one["alert_id"], one["object"]) == (gone["alertId"], f"ztf:{gone['object']}")
    assert one["origin"] == {n: gone[n] for n in ("topic", "partition", "offset", "record")}
    assert one["topic"] == f"{name}.detections"


def test_a_label_that_was_repeated(audited: Run) -> None:
    number = len(audited.topics["labels"]) // 3
    again = audited.topics["labels"][number]
    name = audited.plant(lambda topics: topics["labels"].append(again))
    code, said = audited.audit(name, "--deep")
    assert code == 1
    sums, one = said["faults"]
    assert (sums["what"], sums["labels"], sums["partition"]) == ("doubled", 1, 0)
    whole = label(again[2])
    in_partition = [r for r in audited.topics["labels"] if r[0] == again[0]]
    assert (one["what"], one["topic"], one["partition"]) == ("doubled", f"{name}.labels", again[0])
    assert (one["offset"], one["first"]) == (len(in_partition), in_partition.index(again))
    assert (one["alert_id"], one["object"]) == (whole["alertId"], f"ztf:{whole['object']}")


def test_two_labels_in_another_order(audited: Run) -> None:
    labels = audited.topics["labels"]
    key = max({r[1] for r in labels}, key=lambda k: sum(r[1] == k for r in labels))
    first, second = [i for i, r in enumerate(labels) if r[1] == key][3:5]

    def swap(topics: Topics) -> None:
        some = topics["labels"]
        some[first], some[second] = some[second], some[first]

    name = audited.plant(swap)
    code, said = audited.audit(name, "--deep")
    assert code == 1
    fault = only(said, "order")
    assert fault["object"] == (key or b"").decode()
    assert fault["alert_id"] == label(labels[first][2])["alertId"]
    assert (fault["topic"], fault["partition"]) == (f"{name}.labels", labels[first][0])


def test_a_range_that_a_row_skipped_and_a_sum_that_was_changed(audited: Run) -> None:
    rows = audited.topics["ledger"]

    def rewritten(span: str, change: Callable[[Said], None]) -> tuple[str, Said, int]:
        told: list[Said] = []

        def edit(row: Said) -> None:
            told.append(json.loads(json.dumps(row)))
            if row["span"] == span and row["tallies"]:
                change(row)

        number = next(
            i for i, record in enumerate(rows) if changed_row(record[2], edit) != record[2]
        )
        value = changed_row(rows[number][2], edit)

        def put(topics: Topics) -> None:
            partition, key, _, headers = topics["ledger"][number]
            topics["ledger"][number] = (partition, key, value, headers)

        return audited.plant(put), told[-1], number

    def skip(row: Said) -> None:
        row["inputs"][0]["start"] += 1

    name, row, number = rewritten("curves", skip)
    code, said = audited.audit(name)
    assert code == 1
    fault = only(said, "gap")
    given = row["inputs"][0]
    assert (fault["topic"], fault["partition"]) == (given["topic"], given["partition"])
    assert (fault["start"], fault["end"]) == (given["start"], given["start"] + 1)
    assert fault["ledger"] == number

    def change(row: Said) -> None:
        row["tallies"][0]["sum"] ^= 1 << 20

    name, row, number = rewritten("curves", change)
    code, said = audited.audit(name)
    assert code == 1
    assert {fault["what"] for fault in said["faults"]} == {"sum"}
    fault = next(f for f in said["faults"] if f["reader"] == f"{audited.name}.curves")
    assert fault["ledger"] >= number
    assert fault.get("agreed", -1) < number
