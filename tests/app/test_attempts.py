"""Wrong passwords make their address wait, longer each time; nobody else."""

import base64
import logging

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from framepack.app.api.attempts import FORGOTTEN, FREE, LONGEST, MOST, Attempts, network_of
from framepack.app.api.guard import Access, Guard

ME = ("me", "secret")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client_at(clock: Clock):
    """Call it with an address for a client that asks from there; all ask the same service."""

    async def page(_):
        return PlainTextResponse("hello")

    guard = Guard(Starlette(routes=[Route("/", page)]), Access(login="me:secret"), Attempts(clock))
    return lambda address: TestClient(guard, base_url="http://localhost", client=(address, 5000))


def test_a_thousand_wrong_passwords_take_days(client_at, clock: Clock) -> None:
    client, began, tried = client_at("10.0.0.1"), clock.now, 0
    while tried < 1000:
        answer = client.get("/", auth=("me", f"guess {tried}"))
        if answer.status_code == 429:
            wait = int(answer.headers["retry-after"])
            assert 0 < wait <= LONGEST
            assert f"try again in {wait} s" in answer.json()["error"]
            clock.now += wait
        else:
            assert answer.status_code == 401
            tried += 1
    assert clock.now - began > 3 * 24 * 3600


def test_while_an_address_waits_not_even_the_right_password_is_compared_and_others_come_in(client_at, clock) -> None:
    client = client_at("10.0.0.1")
    for tried in range(FREE + 1):
        assert client.get("/", auth=("me", f"{tried}")).status_code == 401
    assert client.get("/", auth=ME).status_code == 429
    assert client_at("10.0.0.2").get("/", auth=ME).status_code == 200
    clock.now += 1
    assert client.get("/", auth=ME).status_code == 200
    assert client.get("/", auth=("me", "again")).status_code == 401
    assert client.get("/", auth=ME).status_code == 200, "what was right begins anew"


def test_a_tab_that_says_an_old_password_every_second_and_one_that_says_none_lock_nobody_out(client_at) -> None:
    client = client_at("10.0.0.1")
    for _ in range(100):
        assert client.get("/", auth=("me", "the old one")).status_code == 401
        assert client.get("/").status_code == 401
    assert client.get("/", auth=ME).status_code == 200


def test_each_is_logged_with_its_time_and_address_and_never_what_was_given(client_at, caplog) -> None:
    with caplog.at_level(logging.WARNING, "framepack"):
        client_at("10.0.0.7").get("/", auth=("me", "sesame"))
        client_at("10.0.0.7").get("/", headers={"authorization": "Bearer sesame2"})
        client_at("evil\n2026 forged").get("/", auth=("me", "sesame"))
    first, second, third = caplog.messages
    assert "wrong password from 10.0.0.7, 1 in a row" in first
    assert "wrong password from 10.0.0.7, 2 in a row" in second
    assert first[:2] == "20"
    assert "\n" not in third
    given = base64.b64encode(b"me:sesame").decode()
    assert not any(secret in caplog.text for secret in ("sesame", given))


def test_a_crowd_of_addresses_takes_no_more_memory_than_a_few_and_one_household_is_one_address(clock: Clock) -> None:
    attempts = Attempts(clock)
    for number in range(MOST + 500):
        attempts.wrong(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "x")
    assert len(attempts._guesses) == MOST
    for number in range(FREE + 1):
        attempts.wrong(f"2001:db8::{number:x}", f"{number}")
    assert attempts.wait("2001:db8::ffff") == 1
    assert attempts.wait("2001:db8:0:1::1") == 0
    clock.now += FORGOTTEN + 1
    attempts.wrong("2001:db8::1", "another")
    assert attempts.wait("2001:db8::1") == 0


def test_addresses_of_all_kinds_have_a_network() -> None:
    given = ["10.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0", "unknown", "x" * 1000]
    assert [network_of(one) for one in given] == ["10.0.0.1", "10.0.0.1", "fe80::/64", "unknown", "x" * 100]
