"""Pure decisions: no clock, no chance, no I/O. Time is `now` in monotonic seconds, chance a function into [0, 1)."""
