import pytest

from blueprint_proxy.telemetry.events import ALL, Draining, Stopped
from blueprint_proxy.telemetry.stream import Telemetry


def test_a_sink_gets_only_the_types_it_asked_for():
    telemetry, got = Telemetry(), []
    telemetry.subscribe(got.append, [Stopped])
    telemetry.emit(Draining(30.0, 2))
    telemetry.emit(Stopped(drained=True))
    assert got == [Stopped(drained=True)]


def test_a_sink_that_names_no_types_gets_every_one():
    telemetry, got = Telemetry(), []
    telemetry.subscribe(got.append)
    assert all(got.append in telemetry._sinks[kind] for kind in ALL)


def test_sinks_are_called_in_the_order_in_which_they_asked():
    telemetry, got = Telemetry(), []
    telemetry.subscribe(lambda _: got.append("first"))
    telemetry.subscribe(lambda _: got.append("second"))
    telemetry.emit(Stopped(drained=True))
    assert got == ["first", "second"]


def test_a_sink_that_unsubscribed_gets_nothing_more_and_may_say_so_twice():
    telemetry, got = Telemetry(), []
    end = telemetry.subscribe(got.append)
    end()
    end()
    telemetry.emit(Stopped(drained=True))
    assert got == []


def test_a_sink_may_unsubscribe_while_it_is_called():
    telemetry, got = Telemetry(), []

    def once(event):
        got.append(event)
        end()

    end = telemetry.subscribe(once)
    telemetry.subscribe(got.append)
    telemetry.emit(Stopped(drained=True))
    telemetry.emit(Stopped(drained=True))
    assert len(got) == 3


def test_an_event_of_an_unlisted_type_is_an_error():
    with pytest.raises(KeyError):
        Telemetry().emit("not an event")
