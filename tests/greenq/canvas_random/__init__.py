"""Random workflows against a reference evaluation."""
