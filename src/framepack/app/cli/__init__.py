"""The command line: commands and their options, read and run. Prints; decides nothing of a video."""
