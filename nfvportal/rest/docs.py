"""The page of the API's documentation."""

from drf_spectacular.views import SpectacularSwaggerSplitView

# The split view loads its start-up code as a script of its own: no inline script, as the policy demands.
docs = SpectacularSwaggerSplitView.as_view(url_name="api_schema")
