"""Kind geniesim: one slot, no request identity, errors inside of OK, and a simulator that dies and hangs."""
