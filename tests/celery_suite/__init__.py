"""Celery's own integration suite, run against a worker of greenq's: ``python -m tests.celery_suite``."""
