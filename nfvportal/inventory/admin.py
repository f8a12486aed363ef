"""The device inventory in the admin: filters, search, CSV both ways, history, tokens."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from nfvportal.accounts.read_only import ReadOnlyAdmin
from nfvportal.inventory import services
from nfvportal.inventory.csv_exchange import devices_import, devices_to_csv
from nfvportal.inventory.models import DesiredState, Device, Interface, Link, Site
from nfvportal.lib.errors import InvalidInputError

MAX_CSV_BYTES = 5_000_000
STATUS_SYMBOLS = {"online": "●", "offline": "✕", "unknown": "○"}


class AuditedAdmin(admin.ModelAdmin[Any]):
    """Writes through the inventory's services, so that the audit log sees the admin as well."""

    def save_model(self, request: HttpRequest, obj: Any, form: forms.ModelForm[Any], change: bool) -> None:
        """Save with an audit entry."""
        services.entity_save(entity=obj, actor=request.user)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete with an audit entry."""
        services.entity_delete(entity=obj, actor=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Delete several with an audit entry each."""
        for obj in queryset:
            services.entity_delete(entity=obj, actor=request.user)


class InterfaceInline(admin.TabularInline[Interface, Device]):
    """Interfaces within their device."""

    model = Interface
    extra = 0


class CsvForm(forms.Form):
    """A CSV file to import."""

    file = forms.FileField(help_text="CSV with the columns name, site, kind, and optionally roles and note")
    dry_run = forms.BooleanField(required=False, initial=True, help_text="only check, change nothing")

    def clean_file(self) -> str:
        """Return the file's text."""
        upload = self.cleaned_data["file"]
        if upload.size > MAX_CSV_BYTES:
            raise forms.ValidationError(f"must be at most {MAX_CSV_BYTES} bytes, is {upload.size}")
        try:
            return str(upload.read().decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise forms.ValidationError("must be UTF-8 text") from error


@admin.register(Site)
class SiteAdmin(AuditedAdmin):
    """Sites."""

    list_display = ("name", "title", "latitude", "longitude")
    search_fields = ("name", "title")


@admin.register(Device)
class DeviceAdmin(AuditedAdmin):
    """Devices and their agents."""

    list_display = (
        "name",
        "site",
        "kind",
        "role_names",
        "shown_status",
        "last_seen_at",
        "agent_version",
        "token_prefix",
    )
    list_filter = ("status", "kind", "site")
    list_select_related = ("site",)
    search_fields = ("name", "note", "site__name", "site__title", "interfaces__name")
    readonly_fields = (
        "shown_status",
        "status_since",
        "last_seen_at",
        "agent_version",
        "boot_id",
        "capabilities",
        "token_prefix",
        "token_rotated_at",
    )
    inlines = (InterfaceInline,)
    actions = ("rotate_token", "export_csv")
    change_list_template = "admin/inventory/device/change_list.html"

    @admin.display(description="roles")
    def role_names(self, device: Device) -> str:
        """Return the roles in words."""
        return ", ".join(device.roles) or "none"

    @admin.display(description="agent", ordering="status")
    def shown_status(self, device: Device) -> str:
        """Return symbol and word, so that colour is not needed."""
        return f"{STATUS_SYMBOLS[device.status]} {device.status}"

    @admin.action(description="Rotate token (shows the new one once)", permissions=["change"])
    def rotate_token(self, request: HttpRequest, queryset: QuerySet[Device]) -> None:
        """Give each chosen device a new token."""
        for device in queryset:
            token = services.device_token_rotate(device=device, actor=request.user)
            text = format_html("Token of {}: <code>{}</code> It is shown this once.", device.name, token)
            messages.warning(request, text)

    @admin.action(description="Export as CSV", permissions=["view"])
    def export_csv(self, request: HttpRequest, queryset: QuerySet[Device]) -> HttpResponse:
        """Return the chosen devices as CSV."""
        answer = HttpResponse(devices_to_csv(queryset), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = 'attachment; filename="devices.csv"'
        return answer

    def get_urls(self) -> list[URLPattern]:
        """Add the import page."""
        page = path("import/", self.admin_site.admin_view(self.import_csv), name="inventory_device_import")
        return [page, *super().get_urls()]

    def import_csv(self, request: HttpRequest) -> HttpResponse:
        """Import devices from a CSV file, all rows or none."""
        if not (self.has_add_permission(request) and self.has_change_permission(request)):
            raise PermissionDenied
        form = CsvForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            is_dry_run = form.cleaned_data["dry_run"]
            try:
                done = devices_import(
                    text=form.cleaned_data["file"], actor=request.user, is_dry_run=is_dry_run
                )
            except InvalidInputError as error:
                form.add_error("file", str(error))
            else:
                verb = "Would be" if is_dry_run else "Done:"
                messages.success(
                    request,
                    f"{verb} {done.created} created, {done.updated} updated, {done.unchanged} unchanged.",
                )
                if not is_dry_run:
                    return HttpResponseRedirect(reverse("admin:inventory_device_changelist"))
        context = {
            **self.admin_site.each_context(request),
            "form": form,
            "title": "Import devices",
            "opts": Device._meta,
        }
        return render(request, "admin/inventory/device/import.html", context)


@admin.register(Interface)
class InterfaceAdmin(AuditedAdmin):
    """Interfaces."""

    list_display = ("__str__", "device", "name", "mac", "addresses")
    list_filter = ("device__site", "device__kind")
    list_select_related = ("device",)
    search_fields = ("name", "device__name", "mac")
    autocomplete_fields = ("device",)


@admin.register(Link)
class LinkAdmin(AuditedAdmin):
    """Links."""

    list_display = ("name", "kind", "a", "b", "capacity", "delay_ms", "provider", "cost_per_gb")
    list_filter = ("kind", "provider")
    list_select_related = ("a__device", "b__device")
    search_fields = ("name", "provider", "a__device__name", "b__device__name")
    autocomplete_fields = ("a", "b")

    @admin.display(description="capacity", ordering="capacity_bps")
    def capacity(self, link: Link) -> str:
        """Return the capacity with its unit."""
        return f"{link.capacity_bps / 1e6:g} Mbit/s"


@admin.register(DesiredState)
class DesiredStateAdmin(ReadOnlyAdmin):
    """Desired states: to look at; they are made by the apps."""

    list_display = (
        "device",
        "role",
        "revision",
        "applied_revision",
        "applied_ok",
        "applied_error",
        "applied_at",
    )
    list_filter = ("role", "applied_ok")
    list_select_related = ("device",)
