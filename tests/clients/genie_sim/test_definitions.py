from __future__ import annotations

import pytest

from blueprint_clients.genie_sim import definitions
from blueprint_clients.genie_sim.messages import load


def test_a_class_is_the_one_of_the_set() -> None:
    assert definitions.SE3RpyPose is load().type_of("SE3RpyPose")
    assert definitions.Vec3(x=1.0).x == 1.0


def test_another_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="NoSuchMessage"):
        _ = definitions.NoSuchMessage  # type: ignore[attr-defined]  # that is what is tested
    assert not hasattr(definitions, "__wrapped__")
