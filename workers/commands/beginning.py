"""What the commands begin with: settings, the log, a cluster that lets us in."""

from __future__ import annotations

from typing import Literal

from workers.settings import Settings

Survey = Literal["ztf", "lsst", "elasticc"]


def begun(settings: Settings | None) -> Settings:
    """The settings, and the log set up as they say."""
    from workers import log

    settings = settings or Settings()
    log.configure(settings.log.format, settings.log.level)
    return settings


def located(settings: Settings) -> Settings:
    """With the address of the local Kafka where no cluster is named."""
    from workers.ports import HOST

    if settings.kafka.bootstrap_servers:
        return settings
    return settings.using(f"{HOST}:{settings.local_kafka.port}")


def entered(settings: Settings) -> Settings:
    """The same, once the cluster has let us in."""
    from workers.admission import enter

    settings = located(settings)
    enter(settings.kafka.client(), "kafka.security")
    return settings
