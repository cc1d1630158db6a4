"""Events as Celery's tools understand them: what happens to tasks and workers, told to whoever listens."""
