"""Celery's applications, served by greenq's worker as they are.

`greenq.loading` comes here when what it is asked for is a `celery.Celery`, and only then: nothing else of
greenq imports Celery.
"""
