"""The story: from a request to a video file, told in events."""
