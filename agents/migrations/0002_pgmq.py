"""The message queue's tables and functions (PGMQ, as the pinned `pgmq` package bundles them)."""

from importlib.resources import files

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("agents", "0001_initial")]
    operations = [
        migrations.RunSQL(
            sql=files("pgmq").joinpath("sql/pgmq.sql").read_text(encoding="utf-8"),
            reverse_sql="DROP SCHEMA IF EXISTS pgmq CASCADE",
        )
    ]
