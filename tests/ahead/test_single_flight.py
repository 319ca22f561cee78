"""One works, the others wait, and nobody waits past their own time."""

import asyncio

from upnext.ahead.single_flight import SingleFlight


def test_all_that_come_meanwhile_see_what_the_one_at_work_has_found() -> None:
    async def scenario() -> None:
        flights: SingleFlight[list[str]] = SingleFlight()
        value: list[str] = []
        assert flights.under_way("ann") is None
        flights.begin("ann", value)
        flight = flights.under_way("ann")
        assert flight is not None
        waiting = [asyncio.create_task(flight.landed(10_000.0)) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        value.append("slate")
        flights.end("ann")
        assert await asyncio.gather(*waiting) == [True, True, True]
        assert flight.value == ["slate"]
        assert flights.under_way("ann") is None
        assert len(flights) == 0

    asyncio.run(scenario())


def test_one_whose_time_is_over_goes_on_alone_and_the_others_wait_on() -> None:
    async def scenario() -> None:
        flights: SingleFlight[None] = SingleFlight()
        flights.begin("ann", None)
        flight = flights.under_way("ann")
        assert flight is not None
        patient = asyncio.create_task(flight.landed(10_000.0))
        assert not await flight.landed(0.0)
        assert not patient.done()
        flights.end("ann")
        assert await patient
        assert await flight.landed(0.0), "it has landed"

    asyncio.run(scenario())


def test_work_for_others_is_apart() -> None:
    async def scenario() -> None:
        flights: SingleFlight[int] = SingleFlight()
        flights.begin("ann", 1)
        flights.begin("bob", 2)
        flights.end("ann")
        assert flights.under_way("ann") is None
        bob = flights.under_way("bob")
        assert bob is not None
        assert bob.value == 2

    asyncio.run(scenario())
