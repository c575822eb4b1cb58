"""LoRAs, trained on a user's own clips."""
