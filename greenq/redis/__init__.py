"""What the Redis broker and the Redis result store share: addresses, connections, scripts, kombu's keys."""
