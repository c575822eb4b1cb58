"""What people touch: command line, page, HTTP; and the one file that wires the house (runtime)."""
