"""KuaiRand: the shipped extract by its README's counts, and the official layout in miniature."""

from pathlib import Path

import pyarrow.compute as pc
import pytest

from conrec.config import DataConfig
from conrec.data.adapters import kuairand
from conrec.errors import ConrecError
from tests.data.adapters.files_for_tests import item, rows, sound, write

HEADER = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab\n"
)


def line(user: object, video: object, ms: object, click: object = 0, like: object = 0, hate: object = 0) -> str:
    return f"{user},{video},20220422,1700,{ms},{click},{like},0,0,0,{hate},0,100,9000,0,0,0,0,1\n"


MS = 1_650_628_800_123


def official(tmp_path: Path) -> Path:
    data = tmp_path / "KuaiRand-Pure" / "data"
    early = line(1, 5, MS, click=1) + line(1, 6, MS + 1, click=1, like=1) + line(1, 7, MS + 2, click=1, like=1, hate=1)
    write(data / "log_standard_4_08_to_4_21_pure.csv", HEADER + early)
    write(data / "log_standard_4_22_to_5_08_pure.csv.gz", HEADER + line(2, 8, MS + 3))
    write(data / "log_random_4_22_to_5_08_pure.csv", HEADER + line(2, 9, MS + 4, hate=1))
    write(data / "user_features_pure.csv", "user_id,user_active_degree\n1,full_active\n")
    write(
        data / "video_features_basic_pure.csv",
        "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,"
        "server_height,music_id,music_type,tag\n"
        '5,44,NORMAL,2022-04-20,ShortImport,1,17200.0,720,1280,98,4,"12,65"\n'
        "6,45,AD,,UNKNOWN,1,,720,1280,-124,4,\n"
        '8,46,NORMAL,2022-04-21,ShortImport,1,1,720,1280,99,4,"3"\n'
        "77,1,NORMAL,2022-04-21,ShortImport,1,1,720,1280,99,4,3\n",
    )
    return data.parent


def captions(folder: Path) -> None:
    write(
        folder / "kuairand_video_captions.csv",
        'final_video_id,caption,show_cover_text,duration\n5,"猫, ""the"" cat\n#fun",COVER,9\n6,,UNKNOWN,9\n99,x,y,9\n',
    )
    names = ("first", "second", "third", "fourth")
    levels = ",".join(f"{n}_level_category_id,{n}_level_category_name" for n in names)
    write(
        folder / "kuairand_video_categories.csv",
        f"final_video_id,{levels}\n5,1,宠物,2,猫,-124,UNKNOWN,-124,UNKNOWN\n6,3,Food,4,Cake,5,Cream,-124,UNKNOWN\n",
    )


def test_shipped_extract(shared_data: Path) -> None:
    log = sound(kuairand.read(shared_data / "kuairand-27k-like-hate", DataConfig(), None))
    hated = log.events.filter(pc.equal(log.events["kind"], "dislike"))
    assert (log.events.num_rows, hated.num_rows) == (41_828, 8_083)
    assert pc.sum(pc.equal(log.events["kind"], "favorite")).as_py() == 33_745
    assert (len(pc.unique(log.events["user_id"])), log.items.num_rows) == (664, 9_359)
    assert len(pc.unique(hated["item_id"])) == 7_727
    assert str(pc.min(log.events["time"]).as_py()).startswith("2022-04-07 15:44")
    assert str(pc.max(log.events["time"]).as_py()).startswith("2022-04-21 15:51")
    assert log.accounting.images is not None
    assert log.accounting.images.dropped == {"no pictures given": 9_359}


def test_the_extract_as_a_file(shared_data: Path) -> None:
    path = shared_data / "kuairand-27k-like-hate" / "processed_standard_kcore_15.tsv.gz"
    assert kuairand.read(path, DataConfig(), None).events.num_rows == 41_828


def test_official_logs(tmp_path: Path) -> None:
    folder = official(tmp_path)
    log = sound(kuairand.read(folder, DataConfig(), None))
    assert sorted(rows(log.events, "user_id", "item_id", "kind")) == [
        ("1", "5", "click"),
        ("1", "6", "favorite"),
        ("1", "7", "dislike"),
        ("2", "8", "exposure"),
        ("2", "9", "dislike"),
    ]
    assert min(log.events["time"].to_pylist()).isoformat() == "2022-04-22T12:00:00.123000+00:00"
    assert set(log.items["item_id"].to_pylist()) == {"5", "6", "7", "8", "9"}
    five = item(log, "5")
    assert (five["title"], five["category"]) == ("tags 12,65", "tag 12")
    assert five["first_seen"].isoformat() == "2022-04-19T16:00:00+00:00"  # midnight in Beijing
    assert five["attributes"] == {
        "tag": "12,65",
        "author_id": "44",
        "video_type": "NORMAL",
        "upload_type": "ShortImport",
        "music_id": "98",
        "video_duration": "17200.0",
    }
    six = item(log, "6")
    assert (six["title"], six["category"], six["first_seen"]) == ("6", None, None)
    assert six["attributes"] == {"author_id": "45", "video_type": "AD"}
    assert item(log, "7")["title"] == "7"
    assert kuairand.read(folder / "data", DataConfig(), None).events.num_rows == 5


def test_captions_and_categories(tmp_path: Path) -> None:
    folder = official(tmp_path)
    captions(folder)
    log = sound(kuairand.read(folder / "data", DataConfig(), None))
    assert item(log, "5")["title"] == '猫, "the" cat #fun COVER'
    assert item(log, "5")["category"] == "宠物"
    assert item(log, "5")["attributes"]["categories"] == "宠物 > 猫"
    assert (item(log, "6")["title"], item(log, "6")["category"]) == ("Food > Cake > Cream", "Food")
    assert (item(log, "8")["title"], item(log, "8")["category"]) == ("tags 3", "tag 3")


def test_bad_rows(tmp_path: Path) -> None:
    good = "".join(line(1, 5, MS + n) for n in range(1000))
    bad = line(1, 6, MS, hate=2) + line("", 6, MS) + line(1, 6, 0) + line(1, 6, "x") + "1,2,3\n"
    write(tmp_path / "log_standard_a.csv", HEADER + good + bad)
    log = sound(kuairand.read(tmp_path, DataConfig(), None))
    assert log.accounting.to_json()["dropped"] == {
        "is_hate is neither 1 nor 0": 1,
        "no user id": 1,
        "time before 2022": 1,
        "time is not in Unix milliseconds": 1,
        "wrong number of cells": 1,
    }
    write(tmp_path / "log_standard_b.csv", HEADER + line(1, 6, MS, like="yes") + line(1, 6, MS))
    with pytest.raises(ConrecError, match=r"log_standard_b\.csv: row 1: is_like = 'yes'"):
        kuairand.read(tmp_path, DataConfig(), None)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConrecError, match="nowhere: there is no such folder"):
        kuairand.read(tmp_path / "nowhere", DataConfig(), None)
    write(tmp_path / "notes.csv", "a,b\n1,2\n")
    with pytest.raises(ConrecError, match=r"holds no KuaiRand log \(log_standard_\*\.csv"):
        kuairand.read(tmp_path, DataConfig(), None)
    write(tmp_path / "log_standard_a.csv", "user_id,video_id,time_ms,is_click,is_like\n1,2,3,4,5\n")
    with pytest.raises(ConrecError, match=r"log_standard_a\.csv: no column 'is_hate'"):
        kuairand.read(tmp_path, DataConfig(), None)
    write(tmp_path / "log_standard_a.csv", HEADER + line(1, 6, MS))
    write(tmp_path / "kuairand_video_captions.csv", "final_video_id,text\n6,x\n")
    with pytest.raises(ConrecError, match=r"captions\.csv: has none of the columns caption, show_cover_text"):
        kuairand.read(tmp_path, DataConfig(), None)
