"""AMQP 0-9-1 as RabbitMQ speaks it: a lean client, and greenq's queues, delays and dead letters on it."""
