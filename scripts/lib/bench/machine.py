"""What the machine does while something is measured: stolen time, processor time of processes."""

import os
import platform

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Clock:
    """The processors' time from its making to `read()`, in seconds."""

    def __init__(self, pids):
        self.pids = pids
        self.start = self.now()

    def now(self):
        with open("/proc/stat", encoding="ascii") as f:
            user, nice, system, idle, wait, irq, soft, steal = map(int, f.readline().split()[1:9])
        busy = user + nice + system + irq + soft
        return {"steal": steal, "busy": busy, "all": busy + idle + wait + steal,
                **{name: process_ticks(pid) for name, pid in self.pids.items()}}

    def read(self):
        end = self.now()
        return {key: (end[key] - self.start[key]) / TICKS_PER_SECOND for key in end}


def process_ticks(pid):
    """User and system time of all threads of a process that lives."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def facts():
    with open("/proc/meminfo", encoding="ascii") as f:
        memory_kib = int(f.readline().split()[1])
    return {"cores": os.cpu_count(), "memory_bytes": memory_kib * 1024,
            "kernel": platform.release(), "load_average": os.getloadavg()}


def evict(path):
    """Drops what the kernel's page cache has of a file, so that reads of it reach the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
