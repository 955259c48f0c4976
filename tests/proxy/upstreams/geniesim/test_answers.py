import pytest

from blueprint_clients.genie_sim.messages import load
from blueprint_proxy.upstreams.geniesim.answers import LONGEST, app_error, initialised, said
from blueprint_proxy.upstreams.geniesim.methods import names


def reply(method, **fields):
    return load().methods[method].response(**fields).SerializeToString()


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ("reset", reply("reset", msg="ERROR: no")),
        ("exit", reply("exit", msg="ERROR: no")),
        ("linear_move", reply("linear_move", errcode=1, errmsg="ERROR: no")),
        ("set_joint_position", reply("set_joint_position", errmsg="ERROR: no")),
        ("init_robot", reply("init_robot", msg="error: no")),
        ("get_observation#start", reply("get_observation", recordingState="ERROR: no")),
    ],
)
def test_an_error_is_found_where_the_method_puts_it(operation, message):
    assert app_error(operation, message).lower() == "error: no"


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ("reset", reply("reset", msg="reset")),
        ("linear_move", reply("linear_move", errmsg="False")),
        ("get_joint_position", reply("get_joint_position", states=[{"name": "ERROR: joint"}])),
        ("add_object", reply("add_object", label_name="error bars")),
        ("reset", b""),
        ("reset", b"\x0a\xff"),
        ("other", reply("reset", msg="ERROR: no")),
    ],
)
def test_what_is_no_error_is_none(operation, message):
    assert app_error(operation, message) is None


def test_an_errors_text_fits_into_metadata():
    text = app_error("reset", reply("reset", msg="ERROR: Gelenk\nfährt " + "x" * 2000))
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < LONGEST + 20


def test_only_init_robots_success_is_one():
    assert initialised("init_robot", reply("init_robot", msg="success"))
    assert not initialised("init_robot", reply("init_robot", msg="error: no"))
    assert not initialised("reset", reply("reset", msg="success"))


def test_every_field_that_is_read_is_a_text_of_its_methods_reply():
    for name in names():
        method = load().methods.get(name.partition("#")[0])
        words = [
            field for field in method.response.DESCRIPTOR.fields if field.name in {"msg", "errmsg", "recordingState"}
        ]
        if words:
            assert said(name, method.response(**{words[0].name: "w"}).SerializeToString()) in {b"w", None}
            if "get_observation#read" not in name:
                assert said(name, method.response(**{words[0].name: "w"}).SerializeToString()) == b"w", name
