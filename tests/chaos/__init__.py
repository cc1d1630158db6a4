"""Faults injected into real workers, and ledgers outside the broker that tell what became of each task."""
