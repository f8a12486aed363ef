"""REST addresses of the event log."""

from rest_framework.routers import SimpleRouter

from nfvportal.events.api.views import EventViewSet

router = SimpleRouter(use_regex_path=False)
router.register("", EventViewSet, basename="event")
urlpatterns = router.urls
