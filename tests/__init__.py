"""The tests: `unit` needs no server, `server` does, `fundamentals` reads as a tutorial."""
