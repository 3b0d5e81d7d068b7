"""`nextvec loadtest --overload`: what the server does with more requests than it can answer."""
