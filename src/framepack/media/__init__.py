"""Pictures and videos as numpy uint8: read, cropped, encoded, joined, with the request inside. No torch.

`image` `sheet` pictures | `video` `sinks` writing | `join` segments into one file | `read` probing and decoding |
`timing` frame rates | `metadata` the request inside | `marks` made by AI | `frames` `inspection` what can be had from a
video | `sandbox` files from strangers | `parts` what containers are made of.
"""
