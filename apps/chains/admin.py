"""``chains`` in the admin: the catalogue to look after, chains and deployments to look at.

Chains are changed where they are drawn: that keeps every version and tells whoever looks at them.
"""

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.forms import JSONField, ModelForm
from django.http import HttpRequest

from apps.chains.chain_definition import service_parse
from apps.chains.models import Chain, ChainAlarm, ChainPlacement, ChainRevision, Deployment, NfType, Plan
from apps.chains.plan_json import profile_parse, profile_to_json
from apps.chains.services.nf_types import nf_type_delete, nf_type_edited
from nfvportal.accounts.read_only import ReadOnlyAdmin
from nfvportal.audit.services import audit_record
from nfvportal.lib.errors import InvalidInputError


class NfTypeForm(ModelForm[NfType]):
    """A type, with the checks that REST makes."""

    profile = JSONField()
    service = JSONField()

    class Meta:
        model = NfType
        fields = ("slug", "title", "description", "profile", "service", "provenance", "implementation")

    def clean_profile(self) -> dict[str, object]:
        """Refuse what is no profile."""
        try:
            return profile_to_json(profile_parse("profile", self.cleaned_data["profile"]))
        except InvalidInputError as error:
            raise ValidationError(str(error)) from error

    def clean_service(self) -> dict[str, object]:
        """Refuse what is no service time."""
        try:
            return dict(service_parse("service", self.cleaned_data["service"]))
        except InvalidInputError as error:
            raise ValidationError(str(error)) from error


@admin.register(NfType)
class NfTypeAdmin(admin.ModelAdmin[NfType]):
    """The catalogue; a change makes a new version, as over REST."""

    form = NfTypeForm
    list_display = ("slug", "title", "implementation", "is_builtin", "version", "updated_at", "updated_by")
    list_filter = ("is_builtin", "implementation")
    search_fields = ("slug", "title", "description")

    def get_readonly_fields(self, request: HttpRequest, obj: NfType | None = None) -> tuple[str, ...]:
        """Chains refer to the slug."""
        return ("slug",) if obj is not None else ()

    def save_model(self, request: HttpRequest, obj: NfType, form: ModelForm[NfType], change: bool) -> None:
        """Save as a new version, with an audit entry."""
        before = nf_type_edited(NfType.objects.get(pk=obj.pk)) if change else None
        obj.version = obj.version + 1 if change else 1
        obj.updated_by = request.user.get_username()
        super().save_model(request, obj, form, change)
        action = "chains.nf_type_update" if change else "chains.nf_type_create"
        audit_record(
            actor=request.user, action=action, subject=obj.slug, before=before, after=nf_type_edited(obj)
        )

    def has_delete_permission(self, request: HttpRequest, obj: NfType | None = None) -> bool:
        """Built-in types stay; those that a chain uses are kept by the service."""
        if obj is None or obj.is_builtin:
            return False
        is_used = Chain.objects.filter(definition__nfs__contains=[{"type": obj.slug}]).exists()
        return not is_used and super().has_delete_permission(request, obj)

    def delete_model(self, request: HttpRequest, obj: NfType) -> None:
        """Delete through the service, with its audit entry."""
        nf_type_delete(slug=obj.slug, actor=request.user)


@admin.register(Chain)
class ChainAdmin(ReadOnlyAdmin):
    """Chains."""

    list_display = ("name", "title", "version", "path", "epoch", "updated_at", "updated_by")
    search_fields = ("name", "title")


@admin.register(ChainRevision)
class ChainRevisionAdmin(ReadOnlyAdmin):
    """Versions of chains."""

    list_display = ("chain", "version", "note", "created_at", "created_by")
    list_filter = ("chain",)
    list_select_related = ("chain",)


@admin.register(Plan)
class PlanAdmin(ReadOnlyAdmin):
    """Plans, and why there are none."""

    list_display = ("id", "chain", "chain_version", "is_feasible", "reason", "created_at", "created_by")
    list_filter = ("chain", "is_feasible")
    list_select_related = ("chain",)


@admin.register(ChainPlacement)
class ChainPlacementAdmin(ReadOnlyAdmin):
    """Placements of many chains."""

    list_display = (
        "id",
        "is_feasible",
        "admitted_count",
        "refused_count",
        "moved_buckets",
        "created_at",
        "created_by",
    )


@admin.register(Deployment)
class DeploymentAdmin(ReadOnlyAdmin):
    """Plans on the devices."""

    list_display = ("chain", "epoch", "plan", "status", "is_active", "created_at", "live_at", "ended_at")
    list_filter = ("chain", "status")
    list_select_related = ("chain", "plan__chain")


@admin.register(ChainAlarm)
class ChainAlarmAdmin(ReadOnlyAdmin):
    """Missed targets, undeclared writes, drift."""

    list_display = ("raised_at", "chain", "kind", "message", "cleared_at")
    list_filter = ("chain", "kind")
    list_select_related = ("chain",)
