"""Runs: leases that jobs take, the processes behind them, and the run that a call belongs to."""
