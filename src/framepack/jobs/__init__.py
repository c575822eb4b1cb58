"""The job queue, which loses nothing, and its workers, which may crash. Knows no model: it is passed a callable."""
