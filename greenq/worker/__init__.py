"""The worker: one loop for every pool, and the processes around it.

Follow a message: `consumer` fetches and spawns, `runner` runs the task and says how it ended, `settler`
commits that. `worker` wires them together; `process` and `supervisor` are what the command runs.
"""
