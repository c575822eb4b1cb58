"""The job service: a queue that loses nothing, and workers that may die. Knows no model: it is handed a callable."""
