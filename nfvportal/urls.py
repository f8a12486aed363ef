"""URLs of pages, REST and health."""

from django.contrib import admin
from django.urls import include, path

from nfvportal.accounts.views import admin_login

api_v1 = [
    path("", include("nfvportal.accounts.api.urls")),
    path("audit/", include("nfvportal.audit.api.urls")),
    path("events/", include("nfvportal.events.api.urls")),
    path("jobs/", include("nfvportal.jobs.api.urls")),
    path("inventory/", include("nfvportal.inventory.api.urls")),
    path("lab/", include("nfvportal.testbed.api.urls")),
    path("chains/", include("apps.chains.api.urls")),
    path("mptcp/", include("apps.mptcp.api.urls")),
    path("wan/", include("apps.wan.api.urls")),
    path("", include("nfvportal.rest.urls")),
]

urlpatterns = [
    path("", include("nfvportal.health.urls")),
    path("", include("nfvportal.overview.urls")),
    path("", include("nfvportal.accounts.urls")),
    path("audit/", include("nfvportal.audit.urls")),
    path("jobs/", include("nfvportal.jobs.urls")),
    path("wan/", include("apps.wan.urls")),
    path("chains/", include("apps.chains.urls")),
    path("mptcp/", include("apps.mptcp.urls")),
    path("cluster/", include("apps.cluster.urls")),
    path("admin/login/", admin_login),
    path("admin/", admin.site.urls),
    path("api/v1/", include(api_v1)),
    path("api/docs/", include("nfvportal.rest.docs_urls")),
]
