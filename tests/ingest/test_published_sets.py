"""Globo, Online Retail and Open Bandit, each from a few lines with a known meaning."""

from pathlib import Path

import pytest

from tests.ingest.importing import read_all, write_gzip, write_zip
from upnext.domain.event import Event, Item, User
from upnext.errors import DataError
from upnext.ingest.importers.globo import Globo
from upnext.ingest.importers.online_retail import OnlineRetail
from upnext.ingest.importers.open_bandit import OpenBandit

GLOBO_HEADER = (
    "user_id,session_id,session_start,session_size,click_article_id,click_timestamp,click_environment,"
    "click_deviceGroup,click_os,click_country,click_region,click_referrer_type\n"
)
RETAIL_HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
BANDIT_HEADER = (
    ",timestamp,item_id,position,click,propensity_score,"
    "user_feature_0,user_feature_1,user_feature_2,user_feature_3,user-item_affinity_0\n"
)


def test_a_globo_click_keeps_session_and_coded_context(tmp_path: Path) -> None:
    content = GLOBO_HEADER + "59,15068,1,2,234853,1506826800026,4,3,2,1,21,7\n"
    read = read_all(Globo(write_gzip(tmp_path / "clicks.csv.gz", content)))
    context = {"environment": "4", "device": "3", "os": "2", "country": "1", "region": "21", "referrer": "7"}
    assert read.events == [
        Event(
            event_id="globo:15068:1506826800026:234853", action="click", timestamp_ms=1_506_826_800_026,
            user_id="59", session_id="15068", item_id="234853", context=context,
        )
    ]  # fmt: skip
    assert read.items == [Item(item_id="234853")]


def test_globo_rejects_broken_lines_and_names_each_article_once(tmp_path: Path) -> None:
    line = "59,15068,1,2,7,{},4,3,2,1,21,7\n"
    content = GLOBO_HEADER + line.format("1506826800026") + line.format("soon") + "59,1\n" + line.format(1506826800027)
    read = read_all(Globo(write_gzip(tmp_path / "clicks.csv.gz", content)))
    assert read.reasons() == [(3, "bad_number"), (4, "wrong_columns")]
    assert len(read.events) == 2
    assert len(read.items) == 1


def test_globo_reads_a_zip_of_hours_in_their_order(tmp_path: Path) -> None:
    hours = {
        f"clicks/clicks_hour_{hour:03}.csv": GLOBO_HEADER + f"5,{hour},1,2,9,15068268000{hour:02},4,3,2,1,21,7\n"
        for hour in (2, 0, 1)
    }
    read = read_all(Globo(write_zip(tmp_path / "clicks.zip", dict(hours))))
    assert [event.session_id for event in read.events] == ["0", "1", "2"]


def test_a_globo_file_without_its_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="user_id"):
        read_all(Globo(write_gzip(tmp_path / "clicks.csv.gz", "a,b\n1,2\n")))


def test_an_invoice_line_is_a_purchase_worth_price_times_quantity(tmp_path: Path) -> None:
    content = RETAIL_HEADER + "536365,85123A,WHITE HEART,6,2010-12-01T08:26:00,2.55,17850,United Kingdom\n"
    read = read_all(OnlineRetail(write_gzip(tmp_path / "retail.csv.gz", content)))
    assert read.events == [
        Event(
            event_id="online-retail:2", action="purchase", timestamp_ms=1_291_191_960_000,
            user_id="17850", session_id="536365", item_id="85123A", value=15.3,
        )
    ]  # fmt: skip


def test_each_kind_of_invoice_line_that_is_no_purchase_has_its_reason(tmp_path: Path) -> None:
    lines = [
        "C536379,85123A,x,-1,2010-12-01T09:41:00,27.5,14527,UK",
        "536380,POST,POSTAGE,1,2010-12-01T09:41:00,18,12583,France",
        "536380,85123A,x,-10,2010-12-01T09:41:00,1,,UK",
        "536380,85123A,found,10,2010-12-01T09:41:00,0,,UK",
        "536380,85123A,x,many,2010-12-01T09:41:00,1,,UK",
        "536380,85123A,x,1,yesterday,1,,UK",
        "536380,85123A,x,1",
        "536380,8512,x,1,2010-12-01T09:41:00,1,,UK",
    ]
    read = read_all(OnlineRetail(write_gzip(tmp_path / "retail.csv.gz", RETAIL_HEADER + "\n".join(lines))))
    assert not read.events
    assert not read.items
    assert [reason for _, reason in read.reasons()] == [
        "cancellation", "not_a_product", "non_positive_quantity", "non_positive_price", "bad_number", "bad_date",
        "wrong_columns", "not_a_product",
    ]  # fmt: skip


def test_a_product_has_its_most_common_description_and_median_price(tmp_path: Path) -> None:
    row = "536365,85123A,{},1,2010-12-01T08:26:00,{},,UK\n"
    content = RETAIL_HEADER + "".join(
        row.format(*pair) for pair in [("RED  MUG ", 3), ("RED  MUG ", 1), ("RED", 10), ("BLUE", 4)]
    )
    read = read_all(OnlineRetail(write_gzip(tmp_path / "retail.csv.gz", content)))
    assert read.items == [Item(item_id="85123A", title="RED MUG", price=3.5)]
    assert read.events[0].user_id is None


def bandit_zip(path: Path, men: str, women: str = "") -> Path:
    context = ",item_id,item_feature_0\n0,0,-0.5\n1,1,0.25\n"
    return write_zip(
        path,
        {
            "open/random/men/men.csv": BANDIT_HEADER + men,
            "open/random/men/item_context.csv": context,
            "open/bts/women/women.csv": BANDIT_HEADER + women,
            "open/bts/women/item_context.csv": context,
        },
    )


def test_an_impression_that_was_clicked_gives_two_events_joined_by_request(tmp_path: Path) -> None:
    path = bandit_zip(tmp_path / "open.zip", "0,2019-11-24 00:03:13.442536+00:00,1,3,1,0.0294,a,b,c,d,0.0\n")
    read = read_all(OpenBandit(path))
    impression, click = read.events
    context = {"position": 3, "propensity": 0.0294, "policy": "random", "campaign": "men"}
    assert (impression.action, impression.item_id, impression.context) == ("impression", "men-1", context)
    assert impression.timestamp_ms == 1_574_553_793_443
    assert (click.action, click.request_id, click.item_id) == ("click", impression.event_id, "men-1")
    assert click.user_id == impression.user_id
    features = {f"user_feature_{number}": letter for number, letter in enumerate("abcd")}
    assert read.users == [User(user_id=impression.user_id or "", attributes=features)]
    assert [item.item_id for item in read.items] == ["women-0", "women-1", "men-0", "men-1"]


def test_policies_are_merged_by_time_and_users_are_their_four_features(tmp_path: Path) -> None:
    row = "0,2019-11-24 00:0{}:00+00:00,0,1,0,0.1,a,b,c,{},0.0\n"
    path = bandit_zip(tmp_path / "open.zip", row.format(1, "d") + row.format(3, "e"), row.format(2, "d"))
    read = read_all(OpenBandit(path))
    assert [event.item_id for event in read.events] == ["men-0", "women-0", "men-0"]
    assert len({event.user_id for event in read.events}) == 2
    assert len(read.users) == 2
    assert len({event.event_id for event in read.events}) == 3


def test_open_bandit_rejects_broken_lines(tmp_path: Path) -> None:
    row = "0,{},0,{},{},0.1,a,b,c,d,0.0\n"
    good = "2019-11-24 00:01:00+00:00"
    path = bandit_zip(
        tmp_path / "open.zip", row.format("now", 1, 0) + row.format(good, "x", 0) + row.format(good, 1, 2) + "1,2\n"
    )
    read = read_all(OpenBandit(path))
    assert read.reasons() == [(2, "bad_number"), (3, "bad_number"), (4, "bad_number"), (5, "wrong_columns")]
    assert not read.events
