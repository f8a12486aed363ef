"""``wan`` in the admin: pairs and subnets to set up, the rest to look at."""

import secrets

from django.contrib import admin
from django.forms import ModelForm
from django.http import HttpRequest

from apps.wan.engine.probe_codec import KEY_BYTES
from apps.wan.models import FailoverEvent, MapEpoch, SitePair, VirtualSubnet, WanLink
from nfvportal.accounts.read_only import ReadOnlyAdmin
from nfvportal.accounts.sealing import seal
from nfvportal.audit.services import audit_record


class LinkInline(admin.TabularInline[WanLink, SitePair]):
    """Links within their pair."""

    model = WanLink
    extra = 0


class SubnetInline(admin.TabularInline[VirtualSubnet, SitePair]):
    """Virtual subnets within their pair."""

    model = VirtualSubnet
    extra = 0


@admin.register(SitePair)
class SitePairAdmin(admin.ModelAdmin[SitePair]):
    """Site pairs; the probe key is made by the portal and never shown."""

    list_display = ("name", "gateway_a", "gateway_b", "probe_interval_ms", "probe_multiplier")
    list_select_related = ("gateway_a", "gateway_b")
    search_fields = ("name",)
    inlines = (LinkInline, SubnetInline)

    def save_model(
        self, request: HttpRequest, obj: SitePair, form: ModelForm[SitePair], change: bool
    ) -> None:
        """Save with a probe key and an audit entry."""
        if not obj.probe_key_sealed:
            obj.probe_key_sealed = seal(secrets.token_hex(KEY_BYTES))
        super().save_model(request, obj, form, change)
        after = {name: str(form.cleaned_data.get(name)) for name in form.changed_data}
        audit_record(actor=request.user, action="wan.pair_save", subject=obj.name, before=None, after=after)


@admin.register(MapEpoch)
class MapEpochAdmin(ReadOnlyAdmin):
    """Maps over time."""

    list_display = ("number", "pair", "mapping", "reason", "actor", "created_at")
    list_filter = ("pair", "actor")


@admin.register(FailoverEvent)
class FailoverEventAdmin(ReadOnlyAdmin):
    """Failovers over time."""

    list_display = (
        "detected_at",
        "wan_link",
        "direction",
        "detection_ms",
        "action_ms",
        "lost_ms",
        "restored_at",
    )
    list_filter = ("wan_link", "direction")
    list_select_related = ("wan_link__link",)
