"""For tests: a worker in memory, and the suites that brokers and result stores are held to."""
