"""Pictures and videos as numpy uint8: read, cropped, encoded, joined, with the request inside. No torch.

`image` `sheet` pictures | `video` `sinks` writing | `join` segments into one file | `read` probing and decoding |
`timing` frame rates | `metadata` the request inside | `sandbox` files from strangers.
"""
