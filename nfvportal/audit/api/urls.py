"""REST addresses of the audit log."""

from rest_framework.routers import SimpleRouter

from nfvportal.audit.api.views import AuditViewSet

router = SimpleRouter(use_regex_path=False)
router.register("", AuditViewSet, basename="audit-entry")
urlpatterns = router.urls
