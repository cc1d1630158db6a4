"""The rooms of the supervisor, which stands above the workers of the command.

All of it is light: neither the application nor a thread, and of the standard library only what a loop needs.
"""
