#!/usr/bin/env python3
"""The store on PostgreSQL: the database is killed under load, then the management server; nothing is
lost, nothing is doubled, and both go on by themselves."""
import atexit
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from postern import applied_count, expect, expect_in, main, poll, run, BIN, wait_complete  # noqa: E402
from postgresql import Cluster  # noqa: E402

ROUNDS = 3
AWAY_SECONDS = 2


def refusals(group, url):
    secret = url.replace("///postern?", "//postern:hush@/postern?")
    done = run([BIN / "postern-server", "init", "--group", "x", "--name", "x.example", "--state",
                group.folder / "x", "--config", group.folder / "x.yaml", "--store", secret], status=1)
    expect_in("store_password_file", done.err, "the way out")
    expect("hush" not in done.text, f"the password is shown: {done}")
    done = run([BIN / "postern-server", "init", "--group", "x", "--name", "x.example", "--state",
                group.folder / "x", "--config", group.folder / "x.yaml", "--store", url], status=1)
    expect_in("holds a management group already", done.err, "a second group in one database")


def test(group):
    cluster = Cluster(group)
    atexit.register(cluster.remove)
    cluster.start()
    url = cluster.make_database("postern")
    group.make_server(store=url)
    refusals(group, url)
    server = group.start_server()
    gateway = group.add("gw1.dmz.example", "gateway", server)
    agent = group.add("a1.site.example", "agent", gateway)
    wait_complete(group, agent, at_least=2)

    for _ in range(ROUNDS):
        before = applied_count(group, agent)
        mark = server.mark()
        cluster.kill()
        time.sleep(AWAY_SECONDS)  # the outage itself
        expect(server.running, f"the server did not survive:\n{server.tail()}")
        server.wait_said("no connection", mark=mark)
        cluster.start()
        poll("what was measured meanwhile is applied",
             lambda: applied_count(group, agent) >= before + AWAY_SECONDS)
        server.kill()
        group.start_server()
        poll("the server goes on", lambda: applied_count(group, agent) >= before + AWAY_SECONDS + 2)

    agent.stop()
    wait_complete(group, agent)
    # In one statement: the server goes on to observe itself.
    counts = cluster.ask("postern", """SELECT
        (SELECT count(*) FROM archive), (SELECT count(DISTINCT (stream, sequence)) FROM archive),
        (SELECT sum(last - first + 1) FROM applied_range),
        (SELECT count(*) FROM archive_message JOIN archive USING (part, id))""").split("|")
    expect(len(set(counts)) == 1,
           "{} archived, {} different, {} applied, {} messages".format(*counts))
    print(f"{counts[0]} batches, each once")


main(test)
