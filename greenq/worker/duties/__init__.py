"""Background duties of a worker: siblings, each with `run` and `stop`, each in its own file."""
