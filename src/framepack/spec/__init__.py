"""What is asked (request), planned (plan, variants) and said (events). Pure data: no torch, no effects."""
