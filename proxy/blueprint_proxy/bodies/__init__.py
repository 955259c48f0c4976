"""Bodies on their way: pushed from socket to socket, with back-pressure, kept where a call may be repeated."""
