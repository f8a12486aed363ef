"""When a domain last dropped records: a loss of last week is no news."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("mptcp", "0002_equal_32")]

    operations = [
        migrations.AddField(
            model_name="associationdomain",
            name="dropped_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
