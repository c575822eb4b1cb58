"""Where models' files are, what they should hold, and how they become modules."""
