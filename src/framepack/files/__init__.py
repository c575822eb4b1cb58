"""Small things of the operating system that every room needs. Knows nothing of pictures, models or jobs; no torch."""
