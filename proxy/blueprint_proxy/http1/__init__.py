"""The HTTP/1.1 wire grammar, sans I/O: bytes in, values out, or a MalformedMessage.

Strict on purpose: what two implementations could read in two ways is refused, not repaired (RFC 9112 §11).
"""
