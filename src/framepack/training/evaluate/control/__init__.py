"""What the controls do, measured: `framepack eval --control`."""
