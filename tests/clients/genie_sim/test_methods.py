from __future__ import annotations

import inspect
from typing import Any

from blueprint_clients.genie_sim.messages import load
from blueprint_clients.genie_sim.methods import GenieSimMethods


class Recorded(GenieSimMethods):
    def __init__(self) -> None:
        self.asked: list[tuple[str, float | None, dict[str, Any]]] = []

    def _ask(self, method: str, timeout: float | None, fields: Any, /) -> Any:
        self.asked.append((method, timeout, dict(fields)))
        return load().methods[method].response()


def test_every_method_asks_for_itself_with_the_fields_of_its_request() -> None:
    recorded = Recorded()
    for name, method in load().methods.items():
        answer = getattr(recorded, name)(timeout=2.5)
        assert type(answer) is method.response
        asked, timeout, fields = recorded.asked[-1]
        assert (asked, timeout) == (name, 2.5)
        assert list(fields) == [field.name for field in method.request.DESCRIPTOR.fields]
        method.request(**{field: value for field, value in fields.items() if value is not None})


def test_arguments_have_names_only() -> None:
    for name in load().methods:
        parameters = list(inspect.signature(getattr(GenieSimMethods, name)).parameters.values())
        assert {one.kind for one in parameters[1:]} == {inspect.Parameter.KEYWORD_ONLY}
