"""Limits across all workers: unique tasks, rates, how many run at once, queues that are paused."""
