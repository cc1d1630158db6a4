"""Small real programs on greenq; each is run by a test."""
