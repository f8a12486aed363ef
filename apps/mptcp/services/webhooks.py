"""Tells subscribers by signed POST what happened to connections: in order, from a sequence number, again until taken.

A body is ``{"changes": [...], "last_seq": n}``. ``X-Nfvportal-Signature`` is ``sha256=`` and the HMAC-SHA256, in
hexadecimal, of the timestamp in ``X-Nfvportal-Timestamp``, a dot and the body. An answer of 2xx takes the batch; with
anything else, or none within ``ANSWER_WITHIN_S``, it is sent again after a pause that doubles up to ``RETRY_CAP_S``.
"""

import hashlib
import hmac
import http.client
import ipaddress
import secrets
import time
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from apps.mptcp.models import CHANGE_KINDS, ChangeLog, Subscription
from apps.mptcp.selectors import change_data, change_list
from nfvportal.accounts.sealing import seal, unseal
from nfvportal.audit.services import audit_record
from nfvportal.lib.errors import InvalidInputError
from nfvportal.live.publish import encode

SUBSCRIPTIONS_MAX: Final = 100
BATCH: Final = 200
BATCHES_AT_ONCE: Final = 10
ANSWER_WITHIN_S: Final = 5.0
RETRY_FIRST_S: Final = 1.0
RETRY_CAP_S: Final = 300.0
GIVE_UP_FAILURES: Final = 500


def subscription_create(
    *, url: str, kinds: list[str], after: int | None, user: User
) -> tuple[Subscription, str]:
    """Add a subscription; return it with its secret, which is shown this once.

    Args:
        after: begin behind this sequence number; ``None``: with what happens from now on.

    Raises:
        InvalidInputError: a field breaks its limit.
    """
    _check_url(url)
    if unknown := [kind for kind in kinds if kind not in CHANGE_KINDS]:
        raise InvalidInputError("kinds", f"must be among {', '.join(CHANGE_KINDS)}, not {unknown[0][:32]}")
    if Subscription.objects.count() >= SUBSCRIPTIONS_MAX:
        raise InvalidInputError("", f"at most {SUBSCRIPTIONS_MAX} subscriptions are kept; delete one first")
    secret = secrets.token_hex(32)
    newest = ChangeLog.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    with transaction.atomic():
        row = Subscription.objects.create(
            url=url,
            kinds=kinds,
            secret_sealed=seal(secret),
            sent_seq=newest if after is None else after,
            created_by=user.get_username(),
        )
        audit_record(
            actor=user, action="mptcp.subscription_create", subject=url, before=None, after={"kinds": kinds}
        )
    return row, secret


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or len(url) > 500:
        raise InvalidInputError(
            "url", "must be http:// or https:// with a host and no user, of at most 500 characters"
        )
    try:
        address = ipaddress.ip_address(parts.hostname)
    except ValueError:
        return
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        raise InvalidInputError("url", "must not be a link-local, multicast or unspecified address")


def subscription_delete(*, row: Subscription, user: User) -> None:
    """Remove a subscription."""
    with transaction.atomic():
        audit_record(
            actor=user, action="mptcp.subscription_delete", subject=row.url, before={"id": row.pk}, after=None
        )
        row.delete()


def changes_deliver() -> int:
    """Send what is due to all subscribers; return how many batches were taken.

    One process sends to a subscriber at a time; who is being served is passed over.
    """
    now = timezone.now()
    due = Subscription.objects.filter(is_active=True).filter(Q(retry_at=None) | Q(retry_at__lte=now))
    return sum(_serve(pk) for pk in due.values_list("pk", flat=True))


def _serve(pk: int) -> int:
    taken = 0
    with transaction.atomic():
        row = Subscription.objects.select_for_update(skip_locked=True).filter(pk=pk).first()
        if row is None:
            return 0
        for _ in range(BATCHES_AT_ONCE):
            changes = list(change_list(row.sent_seq)[:BATCH])
            if not changes:
                break
            wanted = [change for change in changes if not row.kinds or change.kind in row.kinds]
            error = _post(row, wanted, changes[-1].pk) if wanted else ""
            _remember(row, changes[-1].pk, error)
            if error:
                break
            taken += bool(wanted)
    return taken


def _remember(row: Subscription, last_seq: int, error: str) -> None:
    if not error:
        row.sent_seq, row.failure_count, row.retry_at, row.last_error = last_seq, 0, None, ""
    else:
        row.failure_count += 1
        pause_s = min(RETRY_CAP_S, RETRY_FIRST_S * 2 ** min(row.failure_count - 1, 16))
        row.retry_at, row.last_error = timezone.now() + timedelta(seconds=pause_s), error[:300]
        row.is_active = row.failure_count < GIVE_UP_FAILURES
    row.save()


def _post(row: Subscription, changes: list[ChangeLog], last_seq: int) -> str:
    """Send one batch; return why it was not taken, empty when it was."""
    body = encode({"changes": [change_data(change) for change in changes], "last_seq": last_seq}).encode()
    at = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "nfvportal",
        "X-Nfvportal-Timestamp": at,
        "X-Nfvportal-Signature": signature(unseal(row.secret_sealed), at, body),
    }
    parts = urlsplit(row.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=ANSWER_WITHIN_S)
    try:
        connection.request(
            "POST", f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}", body, headers
        )
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    # A redirect is not followed: it would carry the signed body to a place that nobody subscribed.
    return "" if 200 <= status < 300 else f"answered {status}"


def signature(secret: str, at: str, body: bytes) -> str:
    """Return what the header says, so that a subscriber can compare."""
    digest = hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256)
    return f"sha256={digest.hexdigest()}"
