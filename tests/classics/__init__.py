"""Classic bugs of other queues: each test tells what went wrong there, and what happens here."""
