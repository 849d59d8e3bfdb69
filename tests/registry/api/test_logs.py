import pytest

pytestmark = pytest.mark.anyio


async def repositories(console, count):
    for number in range(count):
        body = {"repository": f"r{number:02}", "visibility": "private", "description": ""}
        response = await console.call("POST", "/repository", body=body)
        assert response.status_code == 201


async def test_every_change_is_in_the_log_newest_first_page_by_page(console):
    await repositories(console, 25)
    first = (await console.call("GET", "/user/logs")).json()
    assert len(first["logs"]) == 20
    second = (
        await console.call("GET", "/user/logs", params={"next_page": first["next_page"]})
    ).json()
    created = [
        entry["metadata"]["repo"]
        for entry in first["logs"] + second["logs"]
        if entry["kind"] == "create_repo"
    ]
    assert created == [f"r{number:02}" for number in reversed(range(25))]
    entry = first["logs"][0]
    assert entry["performer"]["name"] == "quayadmin"
    assert entry["datetime"] == "Mon, 23 Nov 2026 12:00:00 -0000"


async def test_the_log_of_a_repository_holds_its_own_changes_only(console):
    await repositories(console, 2)
    await console.call("PUT", "/repository/quayadmin/r00", body={"description": "new"})
    log = (await console.call("GET", "/repository/quayadmin/r00/logs")).json()["logs"]
    assert [entry["kind"] for entry in log] == ["set_repo_description", "create_repo"]
    assert log[0]["metadata"]["description"] == "new"


async def test_counts_are_by_kind_and_day(console, clock):
    await repositories(console, 3)
    clock.advance(hours=13)
    console_counts = (await console.call("GET", "/superuser/aggregatelogs")).json()["aggregated"]
    assert {
        "kind": "create_repo",
        "count": 3,
        "datetime": "Mon, 23 Nov 2026 00:00:00 -0000",
    } in console_counts


async def test_only_the_days_asked_for_are_shown(console):
    await repositories(console, 1)
    old = {"starttime": "01/01/2020", "endtime": "01/02/2020"}
    answer = (await console.call("GET", "/user/logs", params=old)).json()
    assert answer == {
        "start_time": "Wed, 01 Jan 2020 00:00:00 -0000",
        "end_time": "Fri, 03 Jan 2020 00:00:00 -0000",
        "logs": [],
    }
    reversed_days = {"starttime": "01/05/2020", "endtime": "01/01/2020"}
    assert (await console.call("GET", "/user/logs", params=reversed_days)).status_code == 400


async def test_a_token_of_a_page_that_was_tampered_with_is_the_first_page(console):
    await repositories(console, 25)
    first = (await console.call("GET", "/user/logs")).json()
    forged = first["next_page"][:-2] + "00"
    again = (await console.call("GET", "/user/logs", params={"next_page": forged})).json()
    assert again["logs"] == first["logs"]
