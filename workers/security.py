"""Properties that a cluster's clients are made with: secrets by reference, never in words of ours.

A value `file:PATH` or `env:NAME` stands for what that file or environment variable holds, and is
read when a client is made; so the settings hold where a secret is, and not the secret.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from workers.errors import Misused

_NAME = re.compile(r"[a-z][a-z0-9._]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"password|passphrase|secret|key\.pem|jaas|oauthbearer\.config")
_REFERENCES = ("file:", "env:")
#: Files that were warned of: once in a process is enough.
_warned: set[Path] = set()


def properties(words: Iterable[str], setting: str) -> dict[str, str]:
    """librdkafka properties of `words`, each name=value, with what the references stand for.

    Raises
    ------
    Misused
        A word that is not name=value, or a reference to nothing. No error repeats a value.
    """
    found = {}
    for number, word in enumerate(words, 1):
        name, equals, value = (part.strip() for part in word.partition("="))
        if not equals or not _NAME.fullmatch(name):
            msg = (
                f"{setting}: expected name=value, e.g. security.protocol=SASL_SSL, and word "
                f"{number} of it is not (it is not shown: it may be a secret)"
            )
            raise Misused(msg)
        found[name] = _held(name, value, setting)
    return found


def refuse_in_arguments(words: Iterable[str], flag: str) -> None:
    """Whoever may list processes reads their arguments: no secret may be one.

    Raises
    ------
    Misused
        One is.
    """
    for word in words:
        name, equals, value = (part.strip() for part in word.partition("="))
        if equals and _SECRET.search(name) and not value.startswith(_REFERENCES):
            msg = (
                f"{flag} {name}=...: a secret among the arguments can be read by everybody on this "
                f"machine. Say where it is: {name}=file:PATH or {name}=env:VARIABLE"
            )
            raise Misused(msg)


def hidden(text: str, client: Mapping[str, object]) -> str:
    """`text` without the secrets that a client was made with.

    >>> hidden("password hunter2 is wrong", {"sasl.password": "hunter2", "sasl.username": "me"})
    'password *** is wrong'
    """
    for name, value in client.items():
        if _SECRET.search(name) and value:
            text = text.replace(str(value), "***")
    return text


def _held(name: str, value: str, setting: str) -> str:
    """The value itself, or what the file or the variable holds that it names."""
    if value.startswith("env:"):
        variable = value.removeprefix("env:")
        held = os.environ.get(variable, "") if _VARIABLE.fullmatch(variable) else ""
        if not held:
            shown = f" {variable}" if _VARIABLE.fullmatch(variable) else ""
            msg = (
                f"{setting}: {name} is to come from the environment variable{shown}, which is not "
                f"set where Nightjar was started. Set it, or name a file: {name}=file:PATH"
            )
            raise Misused(msg)
        return held
    if not value.startswith("file:"):
        return value
    path = Path(value.removeprefix("file:")).expanduser()
    try:
        held = path.read_text().rstrip("\r\n")
        mode = path.stat().st_mode
    except (OSError, ValueError) as exc:
        why = getattr(exc, "strerror", None) or "it is not text"
        msg = f"{setting}: {name} is to come from the file {path}, which cannot be read: {why}"
        raise Misused(msg) from None
    if not held:
        msg = f"{setting}: {name} is to come from the file {path}, which is empty"
        raise Misused(msg)
    if mode & stat.S_IROTH and _SECRET.search(name) and path not in _warned:
        from workers.log import logger  # not for --help: it costs some 50 ms

        _warned.add(path)
        logger().warning(
            "every user of this machine can read this secret: chmod 600", file=str(path), of=name
        )
    return held
