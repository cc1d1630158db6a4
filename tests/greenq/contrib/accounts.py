"""An application of Django's whose tasks use its connections, from Django's own pool or one for each task."""

import os
import time

import django
from django.conf import settings

DATABASE = {
    "ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "clerk",
    "HOST": "127.0.0.1", "PORT": os.environ["ACCOUNTS_PORT"],
}  # fmt: skip
if "ACCOUNTS_POOL" in os.environ:
    DATABASE["OPTIONS"] = {
        "pool": {"min_size": 1, "max_size": int(os.environ["ACCOUNTS_POOL"]), "timeout": 60}
    }
if "ACCOUNTS_AGE" in os.environ:
    DATABASE["CONN_MAX_AGE"] = int(os.environ["ACCOUNTS_AGE"])
settings.configure(DATABASES={"default": DATABASE}, USE_TZ=True)
django.setup()

from django.db import connection, transaction  # noqa: E402

from greenq import GreenQ  # noqa: E402

app = GreenQ("accounts")


def ask(seconds):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s), pg_backend_pid()", [seconds])
        return cursor.fetchone()[1]


@app.task
def plain(seconds):
    return ask(seconds)


@app.task
def atomic(seconds):
    with transaction.atomic():
        return ask(seconds)


@app.task
def rests(seconds):
    with transaction.atomic():
        ask(0)
        time.sleep(seconds)


@app.task
def fails(how):
    HOW[how](0)
    raise ValueError("after the query")


@app.task
def wrong():
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1/0")


HOW = {"plain": plain, "atomic": atomic, "rests": rests}


@app.task(soft_time_limit=0.5)
def soft(how):
    HOW[how](60)


@app.task(time_limit=None if os.environ.get("ACCOUNTS_SOFT_ONLY") else 0.5)
def hard(how):
    HOW[how](60)
