"""What greenq knows of other libraries. Nothing of greenq imports it: applications name what they need."""
