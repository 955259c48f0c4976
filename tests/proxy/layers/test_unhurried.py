"""The last layer before the transport of a server that does not stop when its caller does."""

from blueprint_proxy.layers.unhurried import SendUnhurried
from support.rpc import rpc_call
from support.scripted_upstream import ScriptedUpstream
from support.virtual_time import virtual_time


@virtual_time
async def test_no_limit_goes_up_and_every_attempt_is_a_first_one():
    upstream = ScriptedUpstream()
    call = rpc_call(upward=1005.0, previous=2)
    call.attempts = 3
    layer = SendUnhurried(upstream)
    await layer(call)
    await layer(call)
    sent, again = upstream.calls
    assert (sent.upward, sent.previous, sent.attempts) == (None, 0, 1)
    assert (sent.settings.timeouts.attempt, sent.settings.timeouts.first_byte) == (None, None)
    assert sent.settings.timeouts.connect == call.settings.timeouts.connect
    assert again.settings is sent.settings
    assert (call.upward, call.attempts) == (1005.0, 3)
