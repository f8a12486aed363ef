"""REST addresses of API tokens."""

from rest_framework.routers import SimpleRouter

from nfvportal.accounts.api.views import TokenViewSet

router = SimpleRouter(use_regex_path=False)
router.register("tokens", TokenViewSet, basename="token")
urlpatterns = router.urls
