#!/usr/bin/env python3
"""The disk that the other tests break does what a disk may do, and no more: what was synced is there
after a loss of power, what was not is lost, kept or torn, and calls fail or hang as ordered."""
import errno
import mmap
import os
import pathlib
import random
import sqlite3
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lossy import LossyFolder, need_mounts  # noqa: E402
from postern import Daemon, Failure, expect, main, poll  # noqa: E402

BLOCK, SECTOR = 4096, 512
RUNS = 60  # enough for every outcome of a block to come up


def sync_folder(folder):
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(handle)
    os.close(handle)


def write(path, data, offset=0, sync=False):
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
    os.pwrite(handle, data, offset)
    if sync:
        os.fdatasync(handle)
    os.close(handle)


def fails(number, what, call):
    try:
        call()
    except OSError as error:
        expect(error.errno == number, f"{what}: {error}")
        return
    raise Failure(f"{what} did not fail with {errno.errorcode[number]}")


def who_syncs_keeps_who_does_not_loses(disk):
    """The canary: the same program without its sync must lose."""
    lost = 0
    for seed in range(RUNS):
        careful, careless = disk.folder / f"careful{seed}", disk.folder / f"careless{seed}"
        write(careful, b"c" * 10000, sync=True)
        write(careless, b"c" * 10000)
        sync_folder(disk.folder)
        disk.lose_power(seed)
        expect(careful.read_bytes() == b"c" * 10000, f"seed {seed}: what was synced is lost")
        lost += careless.read_bytes() != b"c" * 10000
    expect(lost > RUNS / 2, f"of {RUNS} files that nobody synced {lost} were lost")
    return lost


def blocks_are_old_new_or_torn(disk):
    path, seen = disk.folder / "blocks", set()
    write(path, b"o" * 4 * BLOCK, sync=True)
    sync_folder(disk.folder)
    for seed in range(RUNS):
        write(path, b"n" * BLOCK, BLOCK)
        disk.lose_power(seed)
        found = path.read_bytes()
        expect(len(found) == 4 * BLOCK, f"{len(found)} bytes")
        expect(set(found[:BLOCK] + found[2 * BLOCK:]) == {ord("o")}, "a block nobody wrote changed")
        sectors = [set(found[at:at + SECTOR]) for at in range(BLOCK, 2 * BLOCK, SECTOR)]
        expect(all(len(sector) == 1 for sector in sectors), "a sector is half old, half new")
        seen.add("torn" if len(set(map(str, sectors))) == 2 else chr(found[BLOCK]))
        write(path, b"o" * BLOCK, BLOCK, sync=True)
    expect(seen == {"o", "n", "torn"}, f"only {seen}")


def sizes_come_back(disk):
    path, sizes = disk.folder / "sizes", set()
    write(path, bytes(range(256)) * 40, sync=True)
    sync_folder(disk.folder)
    before = path.read_bytes()
    for seed in range(RUNS):
        os.truncate(path, 100)
        disk.lose_power(seed)
        found = path.read_bytes()
        expect(found == before[:len(found)], "bytes behind a truncation that was lost are others")
        sizes.add(len(found))
        write(path, before, sync=True)
    expect({100, len(before)} < sizes, f"sizes {sizes}")


def names_are_synced_by_their_folder(disk):
    seen = set()
    for seed in range(RUNS):
        folder = disk.folder / f"names{seed}"
        folder.mkdir()
        write(folder / "old", b"1", sync=True)
        sync_folder(disk.folder)
        sync_folder(folder)
        write(folder / "new", b"2", sync=True)
        os.rename(folder / "new", folder / "old")
        write(folder / "later", b"3", sync=True)
        disk.lose_power(seed)
        left = {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder))}
        expect(left.get("old") in (b"1", b"2"), f"the old name holds {left}")
        expect("later" not in left or left["old"] == b"2", f"the order is not kept: {left}")
        seen.add(str(left))
    expect(len(seen) == 4, f"the outcomes were {seen}")

    gone = disk.folder / "names0/old"
    gone.unlink()
    sync_folder(gone.parent)
    disk.lose_power(1)
    expect(not gone.exists(), "a removal that was synced came back")


def failed_sync_stays_failed(disk):
    """A later good sync says nothing about the bytes that the failed one left behind."""
    path, lost = disk.folder / "failed", 0
    write(path, b"o" * BLOCK, sync=True)
    sync_folder(disk.folder)
    for seed in range(RUNS):
        handle = os.open(path, os.O_RDWR)
        os.pwrite(handle, b"n" * BLOCK, 0)
        disk.fail("sync", "EIO")
        fails(errno.EIO, "the sync", lambda handle=handle: os.fdatasync(handle))
        os.fdatasync(handle)
        os.close(handle)
        disk.lose_power(seed)
        lost += path.read_bytes() != b"n" * BLOCK
        write(path, b"o" * BLOCK, sync=True)
    expect(lost > RUNS / 3, f"{lost} lost")


def calls_fail_as_ordered(disk):
    path = disk.folder / "faults"
    write(path, b"x")
    for name in ("ENOSPC", "EDQUOT", "EIO", "EROFS"):
        disk.fail("write", name, number=2)
        write(path, b"first")
        fails(getattr(errno, name), "the second write", lambda: write(path, b"second"))
        write(path, b"third")
    disk.fail("change", "EROFS", always=True)
    for _ in range(3):
        fails(errno.EROFS, "a write", lambda: write(path, b"y"))
        fails(errno.EROFS, "a removal", path.unlink)
    expect(path.read_bytes() == b"third", "reading still works")
    disk.heal()
    write(path, b"healed", sync=True)


def calls_hang_until_healed(disk):
    path, other = disk.folder / "hangs", disk.folder / "other"
    write(path, b"old")
    write(other, b"other")
    disk.hang("write", always=True)
    writers = [threading.Thread(target=write, args=(path, b"new")) for _ in range(12)]
    for writer in writers:
        writer.start()
    # Through one file the kernel sends one write at a time.
    poll("writes hang", lambda: disk.figures()["hanging"] >= 1)
    expect(other.read_bytes() == b"other", "only what was ordered hangs")
    disk.heal()
    for writer in writers:
        writer.join(10)
    expect(path.read_bytes() == b"new", "what hung was not done")


def power_fails_before_a_call(disk):
    """Between the write and its sync: the program sees nothing of it before it is dead."""
    path, lost = disk.folder / "cut", 0
    write(path, b"o" * BLOCK, sync=True)
    sync_folder(disk.folder)
    program = ("import os, sys; f = os.open(sys.argv[1], os.O_RDWR); os.write(f, b'n' * 4096);"
               "os.fdatasync(f); print('synced')")
    for seed in range(10):
        disk.cut("sync", 1)
        daemon = Daemon("writer", [sys.executable, "-c", program, path], disk.folder.parent / "said")
        daemon.start()
        poll("power fails", lambda: disk.figures()["hanging"])
        disk.end(daemon)
        disk.lose_power(seed)
        expect("synced" not in daemon.text(), "the sync returned")
        lost += path.read_bytes() != b"n" * BLOCK
        write(path, b"o" * BLOCK, sync=True)
    expect(lost > 3, f"{lost} lost")


def sqlite_keeps_what_it_committed(disk):
    """A data base in WAL mode: memory maps, locks, and a known careful writer."""
    path, chance = disk.folder / "store.sqlite", random.Random(7)
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE number (n INTEGER)")
    database.commit()
    disk.sync()
    committed = 0
    for seed in range(12):
        database.execute("PRAGMA synchronous=FULL")
        for _ in range(chance.randint(1, 20)):
            committed += 1
            database.execute("INSERT INTO number VALUES (?)", (committed,))
            database.commit()
        database.execute("INSERT INTO number VALUES (-1)")  # never committed
        disk.command("lose", seed)
        copy = sqlite3.connect(path)  # as after a restart; the old connection knows nothing of it
        found = [row[0] for row in copy.execute("SELECT n FROM number ORDER BY n")]
        copy.close()
        database.rollback()
        database.close()
        database = sqlite3.connect(path)
        expect(found == list(range(1, committed + 1)), f"{committed} committed, found {found}")
    database.close()


def shared_maps_work(disk):
    path = disk.folder / "map"
    write(path, bytes(BLOCK))
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), BLOCK) as shared:
        shared[:5] = b"hello"
        shared.flush()
    expect(path.read_bytes()[:5] == b"hello", "what was written through a map is gone")


def test(group):
    need_mounts()
    disk = LossyFolder(group.folder / "disk", group.folder / "backing")
    try:
        for check in (who_syncs_keeps_who_does_not_loses, blocks_are_old_new_or_torn,
                      sizes_come_back, names_are_synced_by_their_folder, failed_sync_stays_failed,
                      calls_fail_as_ordered, calls_hang_until_healed, shared_maps_work,
                      power_fails_before_a_call, sqlite_keeps_what_it_committed):
            result = check(disk)
            disk.sync()
            print(check.__name__.replace("_", " "), "" if result is None else f"({result} lost)")
        print(disk.figures())
    finally:
        disk.close()


main(test)
