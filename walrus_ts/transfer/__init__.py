"""Tables on their way to Redis and back. Knows connections, knows no pandas."""
