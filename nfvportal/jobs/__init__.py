"""Long work with progress, result and cancel; the truth is a row in Postgres, Celery only carries the id."""
