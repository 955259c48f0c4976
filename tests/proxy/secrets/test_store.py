"""When the store looks, what it keeps, and what it says: under virtual time, with places that are the test's."""

import asyncio
import contextlib

import pytest

from blueprint_proxy.config import Secret, load
from blueprint_proxy.secrets.held import AGAIN_CAP, EARLY_AGAIN, EARLY_LOOKS
from blueprint_proxy.secrets.looking import Found, NotFound
from blueprint_proxy.secrets.store import SecretMissing, SecretStore
from support.scripted_upstream import START, Heard
from support.virtual_time import virtual_time

DOWN = NotFound("UNAVAILABLE: down", passing=True)
NONE = NotFound("NOT_FOUND: no such secret")
UPSTREAM = "upstreams: {gemini: null, gcs: null, it: {url: 'http://h', credential: {secret: a-key, env: A_KEY}}}"
MANAGED = f"secret_manager: {{project: a-project}}\n{UPSTREAM}"


class Manager:
    """Secret Manager, scripted: `answer` for every name, or by name. `hold()` makes it wait for `go_on`."""

    def __init__(self):
        self.answer = Found(Secret("one"), "1")
        self.by_name = {}
        self.asked = []
        self.times = []
        self.closed = 0
        self.opened = []
        self.going_on = asyncio.Event()
        self.going_on.set()

    async def open(self, settings, _chance):
        self.opened.append(settings.project)
        return self

    async def access(self, names):
        self.asked.append(sorted(names))
        self.times.append(asyncio.get_running_loop().time() - START)
        await self.going_on.wait()
        return {name: self.by_name.get(name, self.answer) for name in names}

    async def close(self):
        self.closed += 1


class Stage:
    def __init__(self, tmp_path):
        self.file = tmp_path / "proxy.yaml"
        self.directory = tmp_path / "secrets"
        self.directory.mkdir(exist_ok=True)
        self.heard = Heard()
        self.manager = Manager()
        self.registered = []
        self.store = SecretStore(
            emit=self.heard.telemetry.emit,
            now=asyncio.get_running_loop().time,
            chance=lambda: 0.0,
            on_secret=self.registered.append,
            open_manager=self.manager.open,
        )

    def config(self, text):
        self.file.write_text(text)
        return load(self.file, {})

    def put(self, text):
        config = self.config(text)
        self.store.put_in_force(config)
        credential = config.upstreams["it"].credential
        return None if credential is None else self.store.held(credential)

    @contextlib.asynccontextmanager
    async def running(self, text):
        held = self.put(text)
        task = asyncio.get_running_loop().create_task(self.store.run())
        try:
            yield held
        finally:
            task.cancel()
            await asyncio.wait([task])
        assert task.cancelled()


@pytest.fixture
def stage(tmp_path):
    return lambda: Stage(tmp_path)


def played(act):
    virtual_time(act)()


def value(held):
    return held.value and held.value.reveal()


# loading


def test_everything_is_loaded_together_and_said_once(stage):
    async def act():
        one = stage()
        one.manager.by_name = {"b-key": NONE, "c-key": NONE}
        text = MANAGED + "\njobs: {secrets: [a-key, b-key, c-key@7]}"
        one.manager.by_name["c-key@7"] = NONE
        async with one.running(text) as held:
            await held.loaded.wait()
            await asyncio.sleep(0.1)
        assert one.manager.asked == [["a-key", "b-key", "c-key@7"]]
        assert value(held) == "one"
        (loaded,), (missing,) = one.heard.all("secrets_loaded"), one.heard.all("secrets_missing")
        assert loaded["found"] == ["a-key from Secret Manager a-key version 1"]
        assert missing["missing"] == [
            (
                "b-key (looked in Secret Manager b-key (NOT_FOUND: no such secret), file /run/secrets/b-key "
                "(nothing there), environment B_KEY (nothing there))"
            ),
            (
                "c-key (looked in Secret Manager c-key version 7 (NOT_FOUND: no such secret), file /run/secrets/c-key "
                "(nothing there), environment C_KEY (nothing there))"
            ),
        ]
        assert one.manager.closed == 1

    played(act)


def test_redaction_hears_of_a_value_when_it_is_found(stage):
    async def act():
        one = stage()
        async with one.running(MANAGED) as held:
            await held.loaded.wait()
        assert one.registered == [Secret("one")]

    played(act)


def test_without_a_project_it_is_not_asked_and_said_as_a_note(stage, monkeypatch):
    monkeypatch.setenv("A_KEY", "from-env")

    async def act():
        one = stage()
        async with one.running(UPSTREAM) as held:
            await held.loaded.wait()
            await asyncio.sleep(2000)
        assert (value(held), one.manager.opened) == ("from-env", [])
        assert len(one.heard.all("secret_manager_unused")) == 1
        assert one.heard.all("secrets_fell_back") == []

    played(act)


def test_where_no_secret_needs_it_it_is_not_even_opened(stage, monkeypatch):
    monkeypatch.setenv("A_KEY", "from-env")

    async def act():
        one = stage()
        async with one.running("secrets: {order: [env]}\n" + MANAGED) as held:
            await held.loaded.wait()
        assert one.manager.opened == []
        assert one.heard.all("secret_manager_unused") == []

    played(act)


def test_it_falls_back_while_secret_manager_is_down_says_so_and_comes_back(stage, monkeypatch):
    monkeypatch.setenv("A_KEY", "from-env")

    async def act():
        one = stage()
        one.manager.answer = DOWN
        async with one.running(MANAGED) as held:
            await held.loaded.wait()
            await asyncio.sleep(5)
            assert value(held) == "from-env"
            (fell_back,) = one.heard.all("secrets_fell_back")
            assert fell_back["found"] == [
                (
                    "a-key is from environment A_KEY, not Secret Manager a-key (UNAVAILABLE: down), "
                    "file /run/secrets/a-key (nothing there)"
                )
            ]
            one.manager.answer = Found(Secret("one"), "1")
            await asyncio.sleep(AGAIN_CAP)
        assert value(held) == "one"
        assert [event["origin"] for event in one.heard.all("secret_changed")] == ["Secret Manager a-key version 1"]

    played(act)


# who waits for whom

TWO = "\njobs: {secrets: [b-key]}"


@pytest.mark.parametrize(("order", "waits"), [("env, secret_manager, file", False), ("secret_manager, env", True)])
def test_a_secret_that_a_better_place_has_does_not_wait_for_secret_manager(stage, monkeypatch, order, waits):
    monkeypatch.setenv("A_KEY", "from-env")

    async def act():
        one = stage()
        one.manager.going_on.clear()
        async with one.running(f"secrets: {{order: [{order}]}}\n{MANAGED}{TWO}") as held:
            await asyncio.sleep(1)
            assert (value(held), held.loaded.is_set()) == ((None, False) if waits else ("from-env", True))
            assert one.manager.asked == [["a-key", "b-key"] if waits else ["b-key"]]

    played(act)


def test_a_complaint_about_it_does_not_wait_either(stage, monkeypatch):
    monkeypatch.setenv("A_KEY", "from-env")

    async def act():
        one = stage()
        one.manager.going_on.clear()
        async with one.running(f"secrets: {{order: [env, secret_manager]}}\n{MANAGED}{TWO}") as held:
            await held.loaded.wait()
            monkeypatch.setenv("A_KEY", "newer")
            assert await one.store.renew(held, Secret("from-env"))

    played(act)


def test_the_end_of_the_others_look_does_not_end_a_look_that_has_begun_since(stage, monkeypatch):
    monkeypatch.setenv("A_KEY", "from-env")

    async def act():
        one = stage()
        goes_on = {"a-key": asyncio.Event(), "b-key": asyncio.Event()}

        async def access(names):
            (name,) = names
            await goes_on[name].wait()
            return {name: Found(Secret("two"), "2")}

        one.manager.access = access
        async with one.running(f"secrets: {{order: [env, secret_manager]}}\n{MANAGED}{TWO}") as held:
            await held.loaded.wait()
            monkeypatch.delenv("A_KEY")
            renewing = asyncio.get_running_loop().create_task(one.store.renew(held, Secret("from-env")))
            await asyncio.sleep(1)
            goes_on["b-key"].set()
            await asyncio.sleep(1)
            assert not renewing.done()
            goes_on["a-key"].set()
            assert await renewing

    played(act)


# refreshing


def test_values_are_refreshed_in_time_and_a_new_one_is_taken(stage):
    async def act():
        one = stage()
        async with one.running("secrets: {refresh: 10m}\n" + MANAGED) as held:
            await asyncio.sleep(599)
            assert len(one.manager.asked) == 1
            one.manager.answer = Found(Secret("two"), "2")
            await asyncio.sleep(2)
            assert (value(held), held.version) == ("two", "2")
        assert one.registered == [Secret("one"), Secret("two")]

    played(act)


def test_jitter_only_shortens_the_time_to_the_next_look(stage):
    async def act():
        one = stage()
        one.store._chance = lambda: 1.0
        async with one.running("secrets: {refresh: 100s}\n" + MANAGED):
            await asyncio.sleep(101)
        assert one.manager.times == pytest.approx([0.0, 90.0], abs=0.1)

    played(act)


def test_the_last_good_value_is_kept_while_the_store_is_down_and_its_age_is_told_each_period(stage):
    async def act():
        one = stage()
        async with one.running("secrets: {refresh: 100s}\n" + MANAGED) as held:
            await held.loaded.wait()
            one.manager.answer = DOWN
            await asyncio.sleep(350)
            assert value(held) == "one"
            one.manager.answer = Found(Secret("one"), "1")
            await asyncio.sleep(100)
        kept = one.heard.all("secrets_kept")
        assert [round(event["age"], -2) for event in kept] == [100, 200, 300]
        assert kept[0]["kept"] == [
            "a-key from Secret Manager a-key version 1, with Secret Manager a-key (UNAVAILABLE: down)"
        ]
        assert len(one.heard.all("secrets_loaded")) == 2  # at the start, and when all is well again

    played(act)


# files


def test_a_changed_file_is_taken_within_a_second(stage):
    async def act():
        one = stage()
        (one.directory / "a-key").write_text("one")
        text = f"secrets: {{order: [file], directory: '{one.directory}'}}\n{UPSTREAM}"
        async with one.running(text) as held:
            await held.loaded.wait()
            (one.directory / "a-key").write_text("another")
            await asyncio.sleep(1.0)
            assert value(held) == "another"
            (one.directory / "a-key").unlink()
            await asyncio.sleep(1.0)
            assert value(held) == "another"
        assert len(one.heard.all("secrets_kept")) == 1

    played(act)


def test_a_file_that_appears_ends_the_want(stage):
    async def act():
        one = stage()
        async with one.running(f"secrets: {{order: [file], directory: '{one.directory}'}}\n{UPSTREAM}") as held:
            await held.loaded.wait()
            assert value(held) is None
            (one.directory / "a-key").write_text("here")
            await asyncio.sleep(1.0)
            assert value(held) == "here"

    played(act)


def test_a_turned_link_is_a_change(stage):
    async def act():
        one = stage()
        for name in ("old", "new"):
            (one.directory / name).mkdir()
            (one.directory / name / "a-key").write_text(name)
        (one.directory / "..data").symlink_to("old")
        (one.directory / "a-key").symlink_to("..data/a-key")
        async with one.running(f"secrets: {{order: [file], directory: '{one.directory}'}}\n{UPSTREAM}") as held:
            await held.loaded.wait()
            assert value(held) == "old"
            (one.directory / "..turned").symlink_to("new")
            (one.directory / "..turned").replace(one.directory / "..data")
            await asyncio.sleep(1.0)
            assert value(held) == "new"

    played(act)


def test_a_file_that_stands_behind_the_value_in_use_does_not_matter(stage):
    async def act():
        one = stage()
        (one.directory / "a-key").write_text("one")
        async with one.running(f"secrets: {{directory: '{one.directory}'}}\n{MANAGED}") as held:
            await held.loaded.wait()
            (one.directory / "a-key").write_text("another")
            await asyncio.sleep(10)
        assert len(one.manager.asked) == 1

    played(act)


# complaints


def test_all_that_complain_at_once_cause_one_look(stage):
    async def act():
        one = stage()
        async with one.running(MANAGED) as held:
            await held.loaded.wait()
            one.manager.answer = Found(Secret("two"), "2")
            one.manager.going_on.clear()
            loop = asyncio.get_running_loop()
            tasks = [loop.create_task(one.store.renew(held, Secret("one"))) for _ in range(50)]
            await asyncio.sleep(1)
            one.manager.going_on.set()
            assert await asyncio.gather(*tasks) == [True] * 50
            assert len(one.manager.asked) == 2
            assert await one.store.renew(held, Secret("one"))  # late: it is newer already
            assert len(one.manager.asked) == 2
        assert [event["early"] for event in one.heard.all("secret_changed")] == [True]

    played(act)


def test_a_caller_that_leaves_does_not_end_the_look_for_the_others(stage):
    async def act():
        one = stage()
        async with one.running(MANAGED) as held:
            await held.loaded.wait()
            one.manager.answer = Found(Secret("two"), "2")
            one.manager.going_on.clear()
            loop = asyncio.get_running_loop()
            leaving, staying = [loop.create_task(one.store.renew(held, Secret("one"))) for _ in range(2)]
            await asyncio.sleep(1)
            leaving.cancel()
            await asyncio.wait([leaving])
            one.manager.going_on.set()
            assert await staying

    played(act)


def test_complaints_that_bring_nothing_new_do_not_hammer_the_store(stage):
    async def act():
        one = stage()
        async with one.running(MANAGED) as held:
            await held.loaded.wait()
            for _ in range(100):
                assert not await one.store.renew(held, Secret("one"))
            assert len(one.manager.asked) == 2
            await asyncio.sleep(EARLY_AGAIN * 0.9)
            assert not await one.store.renew(held, Secret("one"))
            assert len(one.manager.asked) == 2

    played(act)


def test_a_version_that_becomes_latest_later_is_found_without_another_complaint(stage):
    async def act():
        one = stage()
        async with one.running(MANAGED) as held:
            await held.loaded.wait()
            assert not await one.store.renew(held, Secret("one"))
            one.manager.answer = Found(Secret("two"), "2")
            await asyncio.sleep(EARLY_AGAIN + 1)
            assert value(held) == "two"

    played(act)


def test_looks_after_a_complaint_have_an_end(stage):
    async def act():
        one = stage()
        async with one.running("secrets: {refresh: 10h}\n" + MANAGED) as held:
            await held.loaded.wait()
            await one.store.renew(held, Secret("one"))
            await asyncio.sleep(9 * 3600)
        assert len(one.manager.asked) == 2 + EARLY_LOOKS - 1
        assert one.manager.times[2:6] == pytest.approx([5, 15, 35, 75], abs=1)

    played(act)


def test_a_second_rotation_right_after_the_first_is_taken_at_once(stage):
    async def act():
        one = stage()
        async with one.running(MANAGED) as held:
            await held.loaded.wait()
            for key, rejected in (("two", "one"), ("three", "two")):
                one.manager.answer = Found(Secret(key), "n")
                assert await one.store.renew(held, Secret(rejected))
                assert value(held) == key

    played(act)


def test_looks_of_our_own_after_a_complaint_and_new_complaints_are_not_added_up(stage):
    async def act():
        one = stage()
        async with one.running(MANAGED) as held:
            await held.loaded.wait()
            await one.store.renew(held, Secret("one"))
            await asyncio.sleep(EARLY_AGAIN + 0.1)  # a look of our own has just been
            assert len(one.manager.asked) == 3
            assert not await one.store.renew(held, Secret("one"))
            assert len(one.manager.asked) == 3

    played(act)


def test_without_a_running_store_a_complaint_brings_nothing(stage):
    async def act():
        one = stage()
        held = one.put(MANAGED)
        held.value = Secret("one")
        assert not await one.store.renew(held, Secret("one"))

    played(act)


# jobs


def test_a_job_gets_what_is_listed_and_each_time_is_an_event(stage):
    async def act():
        one = stage()
        async with one.running(MANAGED + "\njobs: {secrets: [b-key@3]}"):
            handed = await one.store.for_job("b-key")
        assert (handed.value, handed.version, handed.source) == (Secret("one"), "1", "Secret Manager b-key version 3")
        assert [event["secret_id"] for event in one.heard.all("secret_handed_out")] == ["b-key"]
        assert "one" not in repr(handed)

    played(act)


def test_a_job_gets_no_other(stage):
    async def act():
        one = stage()
        async with one.running(MANAGED):
            with pytest.raises(LookupError, match=r"it is not in jobs\.secrets"):
                await one.store.for_job("a-key")

    played(act)


def test_a_job_is_told_where_a_missing_one_was_looked_for(stage):
    async def act():
        one = stage()
        one.manager.answer = NONE
        async with one.running(MANAGED + "\njobs: {secrets: [b-key]}"):
            with pytest.raises(SecretMissing, match=r"b-key is missing: looked in Secret Manager b-key \(NOT_FOUND"):
                await one.store.for_job("b-key")

    played(act)


# reload


def test_a_shorter_time_between_looks_holds_from_the_reload_on(stage):
    async def act():
        one = stage()
        async with one.running("secrets: {refresh: 10h}\n" + MANAGED) as held:
            await held.loaded.wait()
            one.put("secrets: {refresh: 1m}\n" + MANAGED)
            await asyncio.sleep(61)
            assert len(one.manager.asked) == 2

    played(act)


def test_a_reload_keeps_the_values_of_ids_that_stay_and_loads_the_new(stage):
    async def act():
        one = stage()
        async with one.running(MANAGED) as held:
            await held.loaded.wait()
            again = one.put(MANAGED + "\njobs: {secrets: [b-key]}")
            assert again is held
            assert (await one.store.for_job("b-key")).value == Secret("one")
            one.put(MANAGED)
            with pytest.raises(LookupError):
                await one.store.for_job("b-key")
        assert one.manager.asked == [["a-key"], ["b-key"]]

    played(act)


def test_a_reload_that_names_another_project_asks_there(stage):
    async def act():
        one = stage()
        async with one.running(MANAGED) as held:
            await held.loaded.wait()
            one.manager.answer = Found(Secret("two"), "1")
            one.put(MANAGED.replace("a-project", "another"))
            assert value(held) == "one"
            await asyncio.sleep(1)
            assert value(held) == "two"
        assert (one.manager.opened, one.manager.closed) == (["a-project", "another"], 2)

    played(act)


def test_nothing_shows_a_value(stage):
    async def act():
        one = stage()
        one.manager.answer = Found(Secret("s3cr3t-value"), "1")
        async with one.running(MANAGED + "\njobs: {secrets: [b-key]}") as held:
            await one.store.for_job("b-key")
            one.manager.answer = DOWN
            await asyncio.sleep(1000)
            shown = f"{one.store!r} {one.store} {held!r} {one.heard.events!r}"
        assert "s3cr3t-value" not in shown

    played(act)
