"""The command `nightjar`: its commands by name, and how an error is said.

Commands stand in `workers.commands`, imported when one is asked for; the list of them is printed
without cyclopts (0.2 s to import on a slow core), so `nightjar --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workers.errors import Failed, Misused
from workers.terminal import shown_lines

if TYPE_CHECKING:
    from cyclopts import App

DONE, FAILED, MISUSED = 0, 1, 2
#: The settings file that is read when no other is named and it is there.
FILE = "nightjar.toml"
HELP = """Nightjar: survey alerts in, light curves kept, names out.

Usage: nightjar COMMAND [ARGUMENTS], nightjar COMMAND --help, nightjar --version

{commands}

Settings come from flags, then from environment variables (--kafka.bootstrap-servers is
NIGHTJAR_KAFKA_BOOTSTRAP_SERVERS), then from a TOML file: --config FILE, else nightjar.toml here.
Exit codes: 0 done, 1 failed, 2 misused."""
COMMANDS = {
    "audit": "Prove that every alert has its outcome: from the ledger and the labels alone.",
    "bench": "Measure each stage beside what it is compared with, in turns, on this machine.",
    "demo": "Show the whole route once: a simulated sky, Kafka, the workers, what came of it.",
    "diff": "Show where two classifiers disagree, or one in two namespaces: alert by alert.",
    "evaluate": "Hold a network against labelled light curves, whole and by their first points.",
    "up": "Run Kafka (ours unless one is given) and all workers, until Ctrl-C.",
    "work": "Run one worker: decode, curves, classify, or curves,classify together.",
    "replay": "Walk an archive again, to a Parquet file or to a namespace of its own.",
    "inspect": "Show the alerts of packets in files: one line each.",
    "kafka": "Run the local Kafka alone, until Ctrl-C.",
    "curves": "Light curves to a file, or from a file into a new namespace.",
    "dead": "Dead letters: ls them, show one, export their bytes, retry them.",
    "skip": "Move a stopped span past offsets that it cannot take; it stands in the ledger.",
    "labels": "Print the labels topic: all that is there, or what comes from now on.",
    "namespaces": "Namespaces: ls what each holds and who works there, drop one whole.",
    "score": "Hold labels against a table of what the objects are: how right, how honest.",
    "simulate": "Make packets as a survey sends them, with the truth beside them.",
    "study": "Reproduce the paper of the method and its exercise, or our figures.",
    "taxonomy": "Print the tree of classes: DESC's numbers, our kinds, which networks name them.",
    "trace": "Tell what became of one alert, or of all alerts of one object.",
    "train": "Train a network on labelled light curves; writes weights and card.",
}


def main() -> None:
    """Run the command line; the process's exit code is 0 done, 1 failed, 2 misused."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; returns its exit code, and says an expected error as one line on stderr."""
    if arguments in ([], ["--help"], ["-h"]):
        print(HELP.format(commands="\n".join(f"  {n:11}{t}" for n, t in COMMANDS.items())))
        return DONE
    from cyclopts import CycloptsError

    try:
        arguments, file = _config_file(arguments)
        result = _application(file)(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except (CycloptsError, Misused) as error:
        return _say(error, MISUSED)
    except KeyboardInterrupt:
        return _say("interrupted", FAILED)
    except BrokenPipeError:  # `nightjar labels | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        expected = _expected(error)
        if expected is None:
            raise
        return _say(expected, FAILED)
    return result if isinstance(result, int) else DONE


def _application(file: Path | None) -> App:
    from cyclopts import App

    app = App(
        name="nightjar",
        # Not Markdown, the default: its parser alone costs 50 ms.
        help_format="plaintext",
        version=_version,
        suppress_keyboard_interrupt=False,  # `run` says it, as it says all that ends a command
        config=[_Given(file)],
    )
    for name, text in COMMANDS.items():
        app.command(f"workers.commands:{name}", name=name, help=text)
    return app


def _expected(error: Exception) -> str | None:
    """The words of an error that is no fault in the program."""
    if isinstance(error, FileNotFoundError | PermissionError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if isinstance(error, Failed) or type(error) is LookupError:  # not a KeyError: that is a fault
        return str(error)
    if type(error).__name__ == "KafkaException":  # without importing its library for `--help`
        return f"Kafka: {error.args[0].str()}"
    return None


def _say(what: object, code: int) -> int:
    print(shown_lines(f"nightjar: {what}"), file=sys.stderr)
    return code


def _config_file(arguments: list[str]) -> tuple[list[str], Path | None]:
    """Take `--config FILE` out of the arguments."""
    rest, file = [], os.environ.get("NIGHTJAR_CONFIG")
    left = iter(arguments)
    for word in left:
        if word == "--config":
            file = next(left, None)
            if file is None:
                msg = "--config: expected the name of a TOML file"
                raise Misused(msg)
        elif word.startswith("--config="):
            file = word.removeprefix("--config=")
        else:
            rest.append(word)
    if file is None:
        return rest, Path(FILE) if Path(FILE).is_file() else None
    return rest, Path(file)


class _Given:
    """Puts what the environment and the file give under what the flags give (cyclopts' `config`).

    Not cyclopts' own Env and Toml: Env passes over a misspelt variable in silence, and Toml does
    not say what was meant.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file

    def __call__(self, app: App, commands: tuple[str, ...], arguments: Any) -> None:
        from cyclopts import Token

        from workers import security
        from workers import settings as sources

        by_flag = {argument.name: argument for argument in arguments}
        if sources.flag("kafka.bootstrap_servers") not in by_flag:
            return  # a command without settings
        for path in ("kafka.security", "source.security"):
            flag = sources.flag(path)
            security.refuse_in_arguments((t.value for t in by_flag[flag].tokens), flag)
        environment = sources.read_environment()
        file = sources.read_file(self.file) if self.file else {}
        for path, words in (file | environment).items():
            argument = by_flag[sources.flag(path)]
            if argument.tokens:  # a flag comes first
                continue
            if path in environment:
                name, source = sources.variable(path), "the environment"
            else:
                name, source = path, str(self.file)
            for word in words:
                argument.append(Token(keyword=name, value=word, source=source))


def _version() -> str:
    from importlib.metadata import version

    return version("nightjar")
