"""REST addresses of jobs."""

from rest_framework.routers import SimpleRouter

from nfvportal.jobs.api.views import JobViewSet

router = SimpleRouter(use_regex_path=False)
router.register("", JobViewSet, basename="job")
urlpatterns = router.urls
