"""The way of a prediction request, from its route to its record."""
