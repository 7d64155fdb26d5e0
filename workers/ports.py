"""Which ports of loopback are free, and which process has a port or a file."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from pathlib import Path

HOST = "127.0.0.1"


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Whether a server on loopback takes connections there."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def port_is_free(port: int) -> bool:
    """Whether a server could listen there; connections of a closed one do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def port_owner(port: int) -> int | None:
    """The process that listens on a TCP port, where /proc shows it to us."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            field = row.split()
            if field[3] == "0A" and int(field[1].rsplit(":", 1)[1], 16) == port:  # 0A: LISTEN
                inodes.add(f"socket:[{field[9]}]")
    for link in Path("/proc").glob("[0-9]*/fd/*") if inodes else ():
        try:
            if os.readlink(link) in inodes:
                return int(link.parts[2])
        except OSError:
            continue  # another user's process, or gone meanwhile
    return None


def lock_owner(path: Path) -> int | None:
    """The process that holds Kafka's lock on a data folder (`.lock`, a POSIX record lock)."""
    try:
        with path.open("r+b") as file:
            query = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            answer = struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_GETLK, query))
    except OSError:
        return None
    return None if answer[0] == fcntl.F_UNLCK else int(answer[4])


def describe_process(pid: int) -> str:
    """`process 1234 (python -m http.server)`."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        raw = b""
    words = raw.replace(b"\0", b" ").decode(errors="replace").strip()
    return f"process {pid} ({words[:60].strip()}{'…' if len(words) > 60 else ''})"
