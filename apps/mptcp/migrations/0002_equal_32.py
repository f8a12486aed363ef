"""One more kind of evidence: a direction that stands at the same 32-bit number."""

from django.db import migrations, models

KINDS = (
    "token",
    "key",
    "idsn",
    "data_fin",
    "both_spaces",
    "one_space_64",
    "aligned_32",
    "equal_32",
    "coverage",
)


class Migration(migrations.Migration):
    dependencies = [("mptcp", "0001_initial")]

    operations = [
        migrations.AlterField(
            model_name="evidence",
            name="kind",
            field=models.CharField(choices=[(kind, kind) for kind in KINDS], max_length=16),
        ),
    ]
