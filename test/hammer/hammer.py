"""The jack hammer: clients that do everything at once on few accounts, then the
money counted again from their own notes.

usage: hammer.py [OPTION…] SECONDS CLIENTS ACCOUNTS

  --seed N      repeats the choices of a run, though not its timing
  --calm        cancels and kills nothing
  --still       lets the test clock alone
  --nodes PORTS the ports of the nodes of a cluster, the coordinator's first, with
                commas between: clients connect to any of them
  --patience S  how long a client waits for a server that is away (30 s)
  --notes DIR   keeps the clients' notes there; a file named stop among them ends
                the run

Works in the database of libpq's environment, which must have ducto and no
accounts, as a superuser: it turns the test clock of the database on, which goes
on by hours between the calls, so that cycles of plans begin. The last line tells how many differences were found; ends with 1 when
there are any.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

import psycopg

from audit import Audit
from client import FUNDS, PRICING, Client, keeps_plan, node, stopped, user

def read_options():
    parser = argparse.ArgumentParser(usage=__doc__, add_help=False)
    parser.add_argument("seconds", type=float)
    parser.add_argument("clients", type=int)
    parser.add_argument("accounts", type=int)
    parser.add_argument("--seed", default=str(int(time.time())))
    parser.add_argument("--calm", action="store_true")
    parser.add_argument("--still", action="store_true")
    parser.add_argument("--nodes", type=lambda text: text.split(","))
    parser.add_argument("--patience", type=float, default=30)
    parser.add_argument("--notes", dest="directory")
    parser.add_argument("--client", type=int)
    parser.add_argument("--until", type=float)
    parser.add_argument("--teams", type=lambda text: text.split(","))
    options = parser.parse_args()
    options.hurry = 0 if options.calm else 0.05
    options.run = f"hammer {options.seed}"
    return options


def connect(options, n=0):
    return psycopg.connect(autocommit=True, application_name="hammer", **node(options, n))


def set_up(options):
    """Makes accounts, teams, plans; what it books is noted as a client's."""
    client = Client(options, 0)
    connection = client.connection = connect(options)
    if connection.execute("SELECT count(*) FROM ducto.accounts").fetchone()[0] > 0:
        sys.exit("hammer: there are accounts in this database")

    if not options.still:
        connection.execute(f'ALTER DATABASE "{connection.info.dbname}" SET ducto.test_clock = on')
        connection.execute("SET ducto.test_clock = on")

    def make(function, **args):
        what = client.intend(function, **args)
        client.done(what, client.call(what))

    connection.execute("SELECT ducto_set_active_pricing(%s)", [PRICING])
    for n in range(options.accounts):
        make("ducto_add_credits", user_id=str(user(n)), amount=str(FUNDS), type="purchase")
        if keeps_plan(str(user(n))):
            make("ducto_set_user_plan", user_id=str(user(n)), plan_id="steady")
    teams = [str(connection.execute("SELECT team_id FROM ducto_create_team(%s)", [f"Team {n}"]).fetchone()[0]) for n in range(2)]
    for team in teams:
        make("ducto_add_team_credits", team_id=team, amount=str(FUNDS * 4))
        for n in range(options.accounts):
            connection.execute("SELECT ducto_add_team_member(%s, %s, spend_cap => %s)", [team, user(n), 60 if n % 2 else None])
    return teams


class Clients:
    """The processes of the clients, and who disturbs them."""

    def __init__(self, options, teams, until):
        self.options = options
        self.command = [sys.executable, os.path.abspath(__file__), str(options.seconds), str(options.clients), str(options.accounts),
                        "--seed", options.seed, "--patience", str(options.patience), "--notes", options.directory,
                        "--teams", ",".join(teams), "--until", str(until)] + (["--nodes", ",".join(options.nodes)] if options.nodes else [])
        self.command += ["--calm"] if options.calm else []
        self.random = random.Random(options.seed)
        self.killed = self.terminated = self.cancels = 0
        self.processes = {number: self.start(number) for number in range(1, options.clients + 1)}

    def start(self, number):
        environment = dict(os.environ, PGAPPNAME="hammer client")
        return subprocess.Popen(self.command + ["--client", str(number)], env=environment)

    def disturb(self, connection):
        """Cancels a call, ends a connection or kills a client."""
        chance = self.random.random()
        if chance < 0.1:
            number = self.random.choice(list(self.processes))
            self.processes[number].send_signal(signal.SIGKILL)
            self.processes[number].wait()
            self.processes[number] = self.start(number)
            self.killed += 1
            return
        function = "pg_terminate_backend" if chance < 0.2 else "pg_cancel_backend"
        found = connection.execute(f"SELECT {function}(pid) FROM pg_stat_activity WHERE application_name = 'hammer client'"
                                   " AND state <> 'idle' ORDER BY random() LIMIT 1").fetchall()
        if function == "pg_terminate_backend":
            self.terminated += len(found)
        else:
            self.cancels += len(found)

    def advance(self, connection):
        """Lets the clock go on: mostly by minutes, then by hours, seldom by days."""
        if not self.options.still and self.random.random() < 0.3:
            hours = self.random.choice([0.1, 0.1, 1, 5, 5, 30, 80]) * self.random.random()
            connection.execute("SELECT ducto_advance_clock(make_interval(secs => %s))", [3600 * hours])

    def wait(self, until):
        """Disturbs the clients until the time is over, then waits for them."""
        connection = None
        while time.time() < until and not stopped(self.options.directory):
            time.sleep(self.random.uniform(0.01, 0.1))
            try:
                connection = connection or connect(self.options)
                self.advance(connection)
                if not self.options.calm:
                    self.disturb(connection)
            except psycopg.OperationalError:
                connection = None
        return [number for number, process in self.processes.items() if process.wait() != 0]


def server_cpu(connection):
    """Seconds of CPU that the server has used, or None where that cannot be read."""
    try:
        directory = connection.execute("SHOW data_directory").fetchone()[0]
        with open(os.path.join(directory, "postmaster.pid"), encoding="ascii") as file:
            postmaster = int(file.readline())
        ticks = 0
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(pid) == postmaster:
                ticks += sum(map(int, fields[11:15]))
            elif int(fields[1]) == postmaster:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return None


def report(options, audit, clients, seconds, cpu):
    counts = audit.counts
    print(f"{options.seconds:g} s, {options.clients} clients, {options.accounts} accounts, seed {options.seed}")
    print(f"{counts['calls']} calls, {counts['calls'] / seconds:.0f} per second:"
          f" {counts['done']} done, {counts['rejected']} rejected, {counts['undone']} undone, {counts['cancelled']} cancelled")
    print(f"{counts['replayed']} retried under their key, {counts['remade under their key']} remade after an unknown outcome")
    print(f"{clients.killed} clients killed, {clients.terminated} connections ended, {clients.cancels} calls cancelled from outside,"
          f" {counts['deadlocks']} deadlocks")
    if cpu is not None:
        print(f"{cpu / max(counts['calls'], 1) * 1e6:.0f} us of the server's CPU per call")
    print(f"{counts['gifts']} grants of {counts['cycles']} cycles, {counts['lines']} lines in {counts['settled']} entries,"
          f" {counts['elements']} elements of batches, over {counts['days']} days")
    print(f"{counts['usages']} usages, whose exact prices are what was taken for them and what is carried over")
    for difference in audit.differences[:20]:
        print(f"difference: {difference}")
    print(f"{len(audit.differences)} differences")


def main():
    options = read_options()
    if options.client:
        Client(options, options.client).run(options.until)
        return
    with tempfile.TemporaryDirectory(prefix="ducto-hammer-") as scratch:
        options.directory = options.directory or scratch
        os.makedirs(options.directory, exist_ok=True)
        teams = set_up(options)
        with connect(options) as connection:
            before = server_cpu(connection)
        begin = time.time()
        clients = Clients(options, teams, begin + options.seconds)
        failed = clients.wait(begin + options.seconds)
        seconds = time.time() - begin
        with connect(options) as connection:
            after = server_cpu(connection)
            audit = Audit(connection, options.directory)
            for number in failed:
                audit.differ(f"client {number} failed")
            audit.all()
    cpu = None if options.nodes or before is None or after is None or after < before else after - before
    report(options, audit, clients, seconds, cpu)
    sys.exit(1 if audit.differences else 0)


if __name__ == "__main__":
    main()
