"""A stand-in for Genie Sim 3's gRPC server, with the real one's mailbox and every way it is known to fail.

It is a process of its own (`process.GenieSim` starts and steers one, `python -m support.genie_sim` is the same for a
demo): an old-style grpc.server whose ten workers share one slot with the simulation's loop, which runs on the main
thread. Without the slot a test would pass proxies that break the real thing. `client` asks questions whose right
answers are known. Written from the facts about the server; none of its code is here.
"""
