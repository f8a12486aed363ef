"""What agent sessions write: who is online, what they report, what they applied."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from nfvportal.celery import app
from nfvportal.events.services import event_publish
from nfvportal.events.severities import severity_of
from nfvportal.inventory.models import Device, DeviceStatus
from nfvportal.inventory.selectors import desired_states_of
from nfvportal.inventory.services import device_authenticate
from nfvportal.reactions import SAMPLES
from nfvportal.southbound.session import HEARTBEAT_S, SILENT_BEATS, GoOnline, Identity

# One beat more than the session itself allows, so that the sweep only finds devices whose web process died.
OFFLINE_AFTER: Final = timedelta(seconds=(SILENT_BEATS + 1) * HEARTBEAT_S)
SAMPLES_EXPIRE_S: Final = 30


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device whose token came with a connection."""

    pk: int
    identity: Identity


def device_identify(raw_token: str) -> KnownDevice | None:
    """Return whose token this is."""
    device = device_authenticate(raw_token)
    if device is None:
        return None
    return KnownDevice(device.pk, Identity(device.name, frozenset(device.roles)))


def device_online(*, device_id: int, session_id: str, hello: GoOnline) -> None:
    """Note that a device's agent is here; an event when it was not."""
    now = timezone.now()
    with transaction.atomic():
        device = Device.objects.select_for_update(of=("self",)).get(pk=device_id)
        was_online = device.status == DeviceStatus.ONLINE
        is_new_boot = device.boot_id != hello.boot_id
        device.agent_version, device.boot_id = hello.version, hello.boot_id
        device.capabilities, device.last_seen_at, device.session_id = hello.capabilities, now, session_id
        if not was_online:
            device.status, device.status_since = DeviceStatus.ONLINE, now
        device.save(
            update_fields=[
                "agent_version", "boot_id", "capabilities", "last_seen_at", "session_id", "status", "status_since",
            ]
        )  # fmt: skip
        if not was_online or is_new_boot:
            data = {"version": hello.version, "boot_id": hello.boot_id, "is_new_boot": is_new_boot}
            _event_about(device.name, "inventory.device_online", data)


def device_seen(*, device_id: int, session_id: str) -> bool:
    """Note that the agent still lives; ``False`` when another session speaks for the device now."""
    rows = Device.objects.filter(pk=device_id, session_id=session_id)
    if rows.filter(status=DeviceStatus.ONLINE).update(last_seen_at=timezone.now()):
        return True
    # Swept offline while this session was stuck, but it is here after all.
    now = timezone.now()
    with transaction.atomic():
        if not rows.update(status=DeviceStatus.ONLINE, status_since=now, last_seen_at=now):
            return False
        name = Device.objects.values_list("name", flat=True).get(pk=device_id)
        _event_about(name, "inventory.device_online", {"is_new_boot": False})
    return True


def device_gone(*, device_id: int, session_id: str, reason: str) -> bool:
    """Mark a device offline when its session ended; nothing happens when a newer session speaks for it."""
    rows = Device.objects.filter(pk=device_id, session_id=session_id, status=DeviceStatus.ONLINE)
    with transaction.atomic():
        if not rows.update(status=DeviceStatus.OFFLINE, status_since=timezone.now()):
            return False
        name = Device.objects.values_list("name", flat=True).get(pk=device_id)
        _event_about(name, "inventory.device_offline", {"reason": reason})
    return True


def devices_sweep() -> int:
    """Mark devices offline that were not seen for long (their web process died); return how many."""
    late = timezone.now() - OFFLINE_AFTER
    silent = Device.objects.filter(status=DeviceStatus.ONLINE, last_seen_at__lt=late)
    pairs = list(silent.values_list("pk", "session_id"))
    reason = f"no sign of life for {OFFLINE_AFTER.total_seconds():.0f} s"
    return sum(device_gone(device_id=pk, session_id=session_id, reason=reason) for pk, session_id in pairs)


def agent_event_store(*, device_name: str, frame: Mapping[str, Any]) -> None:
    """Commit what an agent reports; told twice, it is stored once."""
    data = frame["data"]
    subject = data.get("link") or data.get("subject") or device_name
    event_publish(
        type=frame["event"],
        at_s=float(frame["at_s"]),
        severity=severity_of(frame["event"]),
        subject=str(subject),
        data=data,
        device_name=device_name,
        source_key=f"{device_name}:{frame['boot_id']}:{frame['id']}",
    )


def samples_forward(*, device_name: str, role: str, columns: Mapping[str, Any]) -> None:
    """Hand a batch of samples to the task of its role; raises what the broker's client raises when it is away."""
    task = SAMPLES.get(role)
    if task is not None:
        app.send_task(
            task,
            kwargs={"device": device_name, "columns": columns},
            queue="telemetry",
            retry=False,
            expires=SAMPLES_EXPIRE_S,
        )


def refusal_report(*, source: str, code: str, reason: str, held_back_count: int) -> None:
    """Store that an agent was refused."""
    data = {"code": code, "reason": reason, "held_back_count": held_back_count}
    _event_about(source, "inventory.agent_refused", data)


def device_roles(device_id: int) -> frozenset[str]:
    """Return the roles that the inventory gives a device now."""
    return frozenset(Device.objects.filter(pk=device_id).values_list("roles", flat=True).first() or ())


def desired_frames(device_id: int, known: Mapping[str, int]) -> list[tuple[str, int, dict[str, Any]]]:
    """Return the desired states that the session has not sent yet, as ``(role, revision, spec)``.

    Args:
        known: role -> revision the session sent last.
    """
    return [
        (state.role, state.revision, state.spec)
        for state in desired_states_of(device_id)
        if known.get(state.role) != state.revision
    ]


def _event_about(name: str, event_type: str, data: dict[str, Any]) -> None:
    event_publish(
        type=event_type,
        at_s=time.time(),
        severity=severity_of(event_type),
        subject=name,
        data=data,
        device_name=name[:64],
    )
