"""How well a model follows prompts and holds together, in numbers."""
