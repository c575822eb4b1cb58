"""The pipeline: from a request to a video file, reported as events."""
