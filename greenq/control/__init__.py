"""Remote control in Celery's format: what workers can be asked and told, and how."""
