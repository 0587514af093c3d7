"""What a server's processes cost, from /proc: CPU time and memory of a process and all that it started."""

import os
from pathlib import Path

TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


def tree(root):
    """Returns the process ids of `root` and of its descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = stat_fields(entry)
            if fields:
                parents[int(entry.name)] = int(fields[1])
    found = {root} & parents.keys()
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found
        found |= more


def stat_fields(folder):
    """Returns /proc/PID/stat from its third field on, or nothing if the process is gone."""
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def cpu_seconds(root):
    """Returns the CPU time that the tree has used: its live processes, and their children that have ended."""
    fields = [stat_fields(Path(f"/proc/{pid}")) for pid in tree(root)]
    return sum(sum(map(int, each[11:15])) for each in fields if each) * TICK_SECONDS


def memory_kib(root, field):
    """Returns the sum of VmRSS or VmHWM (the peak) over the tree; pages shared by several count in each."""
    total = 0
    for pid in tree(root):
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith(field + ":"))
    return total


def core_busy_seconds(core):
    """Returns the time that a core has spent in processes, of whoever: user, nice and system."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            return sum(map(int, ticks[:3])) * TICK_SECONDS
    raise ValueError(f"there is no core {core}")
