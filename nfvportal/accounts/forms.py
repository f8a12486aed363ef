"""Forms of accounts."""

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError

from nfvportal.accounts import services


class LoginForm(AuthenticationForm):
    """Django's login form with a brake on guessing."""

    def clean(self) -> dict[str, Any]:
        """Refuse a name that failed too often, count failures, forget them on success."""
        username = self.cleaned_data.get("username") or ""
        if username and services.login_is_throttled(username=username):
            minutes = int(services.ATTEMPT_WINDOW.total_seconds() // 60)
            raise ValidationError(
                f"Too many failed logins for this name. Wait {minutes} minutes and try again."
            )
        try:
            cleaned: dict[str, Any] = super().clean()
        except ValidationError:
            address = self.request.META.get("REMOTE_ADDR") or "local" if self.request else "local"
            services.login_failed(username=username, address=address)
            raise
        services.login_succeeded(username=username)
        return cleaned


class TokenForm(forms.Form):
    """What a new API token should be."""

    name = forms.CharField(max_length=100, help_text="what it is for")
    days = forms.IntegerField(
        min_value=1,
        max_value=services.MAX_TOKEN_DAYS,
        initial=30,
        help_text="days until it expires, 1 to 365",
    )
    can_write = forms.BooleanField(required=False, help_text="may change things, as far as your role allows")
