# SPDX-License-Identifier: GPL-2.0
"""Containers in the VM, and what memory they take: parts of demo-guest and
bench-memory.

All containers are below one cgroup, whose counters include what containers
that are gone left in the cache. What podman and its helpers read is charged
elsewhere, and shared memory, which the containers' tmpfs is, is left out of
the page cache.
"""

import concurrent.futures
import contextlib
import fcntl
import json
import os
import re
import stat
import struct
import subprocess
import sys
import time

STORE = "/run/refalias-store/store"
STATE = "/run/refalias-store/state"
CGROUP_ROOT = "/sys/fs/cgroup"
PARENT = "refalias-containers"

# uapi/linux/mapping_alias.h
INFO_ALIAS, INFO_DONOR, INFO_KEPT = 1, 2, 4
INFO_SIZE = 32
FS_IOC_MAPPING_INFO = 2 << 30 | INFO_SIZE << 16 | 0x15 << 8 | 0xa2

DUPLICATE_BYTES = os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), "duplicate-bytes")

# Without the host's configuration
PODMAN = ("podman", "--root", STORE + "/graph", "--runroot", STATE + "/run",
          "--tmpdir", STATE + "/tmp", "--storage-driver", "overlay",
          "--runtime", "crun", "--cgroup-manager", "cgroupfs",
          "--events-backend", "none")
# conmon stays in our cgroup: what it reads is not the container's.
CONTAINER = ("run", "--rm", "--pull=never", "--network=none",
             "--cgroups=no-conmon", "--cgroup-parent=/" + PARENT,
             "--log-driver=none")

READ_ALL = "find / -xdev -type f -exec cat {} + >/dev/null && echo all read"


class GuestError(Exception):
    """Something went wrong that the user should read in one line."""


def say(text):
    name = os.path.basename(sys.argv[0])
    print(f"{name}: {text}", file=sys.stderr, flush=True)


def read(path):
    with open(path, encoding="ascii") as stream:
        return stream.read()


def write(path, text):
    with open(path, "w", encoding="ascii") as stream:
        stream.write(text)


def run(*command):
    """Runs command and returns its output; GuestError if it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, check=False)
    if done.returncode != 0:
        output = (done.stdout + done.stderr).strip()[-2000:]
        raise GuestError(f"'{' '.join(command)}' failed with status"
                         f" {done.returncode}: {output}")
    return done.stdout


def podman(*arguments):
    """Runs podman on the store and returns its output."""
    return run(*PODMAN, *arguments)


def mount_store(device):
    """Mounts the store and what the containers need."""
    for path in (STORE, STATE):
        os.makedirs(path)
    run("mount", device, STORE)
    if not os.path.exists(CGROUP_ROOT + "/cgroup.controllers"):
        run("mount", "-t", "cgroup2", "cgroup2", CGROUP_ROOT)
    write(CGROUP_ROOT + "/cgroup.subtree_control", "+memory +pids")


def layer_directories(images):
    """Returns the directories with the layers of the images."""
    paths = []
    for image in images:
        data = json.loads(podman("image", "inspect", "--format",
                                 "{{json .GraphDriver.Data}}", image))
        for key in ("UpperDir", "LowerDir"):
            paths += [path for path in data.get(key, "").split(":") if path]
    return paths


def duplicates(directories):
    """Returns what duplicate-bytes counts in them."""
    return json.loads(run(DUPLICATE_BYTES, *directories))


def drop_caches():
    """Empties page cache, dentries and inodes as far as they are unused."""
    os.sync()
    # What the first pass lets go of kept other objects from going at once.
    for _ in range(2):
        write("/proc/sys/vm/drop_caches", "3")


def counters(cgroup):
    """Returns what a cgroup is charged with, and events, by their names."""
    return {name: int(value) for name, value in
            (line.split() for line in
             read(cgroup + "/memory.stat").splitlines())}


def file_bytes(cgroup):
    """Returns the page cache charged to a cgroup, less shared memory."""
    found = counters(cgroup)
    return found["file"] - found["shmem"]


@contextlib.contextmanager
def containers_cgroup():
    """Makes the cgroup above all containers, with caches dropped."""
    cgroup = os.path.join(CGROUP_ROOT, PARENT)
    os.mkdir(cgroup)
    try:
        write(cgroup + "/cgroup.subtree_control", "+memory +pids")
        drop_caches()
        yield cgroup
    finally:
        os.rmdir(cgroup)


def run_container(image, command, expected):
    """Runs command in a container of image; GuestError if it does not work."""
    output = podman(*CONTAINER, image, *command)
    if not re.search(expected, output, re.MULTILINE):
        raise GuestError(f"the container of {image} did not print '{expected}'"
                         f" but: {output[-2000:]}")


def run_containers(containers):
    """Runs containers, (image, command, expected) each, at the same time."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for done in [pool.submit(run_container, *one) for one in containers]:
            done.result()


def readers(images):
    """Returns containers that read all files of the images."""
    return tuple((image, ("sh", "-c", READ_ALL), r"^all read$")
                 for image in images)


# Before and after a service's script: what programs print is shown if one fails, and
# wait_for COMMAND waits until it succeeds, or what was last sent to the background ended.
SERVICE_START = """
set -e
exec 3>&1 >/data/log 2>&1
trap '((!$?)) || tail -n 40 /data/log >&3' EXIT
wait_for()
{
	local server=$! tries

	for ((tries = 0; tries < 600; tries++)); do
		! "$@" || return 0
		[[ ! $server ]] || kill -0 "$server" || return 1
		sleep 1
	done
	return 1
}
"""
SERVICE_END = """
echo loaded >&3
read -r || :
"""


@contextlib.contextmanager
def service(script, *image):
    """Has a container that has done its work, and stays until the end.

    image are podman's arguments that name one, script is for bash. Its own
    data are in a tmpfs, /data.
    """
    command = [*PODMAN, *CONTAINER, "--interactive", "--tmpfs",
               "/data:rw,mode=1777,size=1g", *image, "bash", "-c",
               SERVICE_START + script + SERVICE_END]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True,
                          stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        try:
            output = []
            while output[-1:] != ["loaded\n"]:
                line = process.stdout.readline()
                if not line:
                    raise GuestError(f"the container of {' '.join(image)} ended"
                                     f" before its work: {''.join(output)}")
                output.append(line)
            yield
        finally:
            process.stdin.close()


def count_states(directories):
    """Counts the aliases, kept aliases and donors below directories."""
    result = {"aliases": 0, "kept": 0, "donors": 0}
    seen = set()
    for root in directories:
        for directory, _, names in os.walk(root):
            for name in names:
                path = os.path.join(directory, name)
                st = os.lstat(path)
                # Subvolumes of btrfs have the same inode numbers.
                inode = (st.st_dev, st.st_ino)
                if not stat.S_ISREG(st.st_mode) or inode in seen:
                    continue
                seen.add(inode)
                fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
                try:
                    info = fcntl.ioctl(fd, FS_IOC_MAPPING_INFO,
                                       bytes(INFO_SIZE))
                finally:
                    os.close(fd)
                state, = struct.unpack_from("I", info)
                result["aliases"] += state & INFO_ALIAS != 0
                result["kept"] += state & INFO_KEPT != 0
                result["donors"] += state & INFO_DONOR != 0
    return result


def kernel_memory():
    """Returns the bytes that slabs take, and those of the objects in each cache.

    Caches are dropped first, so that the objects left are in use. The slabs
    may be partly empty all the same, and are memory that is held.
    """
    drop_caches()
    # The last objects are freed a grace period later.
    time.sleep(1)
    drop_caches()
    objects = {}
    for line in read("/proc/slabinfo").splitlines()[2:]:
        name, active, _, size = line.split()[:4]
        objects[name] = int(active) * int(size)
    slab = re.search(r"^Slab: *([0-9]+) kB$", read("/proc/meminfo"), re.M)
    return int(slab[1]) * 1024, objects


@contextlib.contextmanager
def aliases(tool, directories, *options):
    """Has refalias make aliases, and release them at the end.

    Gives what they cost as a dictionary: their number, that of their donors
    and, in bytes, by how much the kernel's slabs grew, the objects in them,
    and the caches of these that grew most.
    """
    slabs_before, objects_before = kernel_memory()
    run(tool, "run", *options, *directories)
    slabs, objects = kernel_memory()
    states = count_states(directories)
    if not states["aliases"]:
        raise GuestError("refalias run succeeded, but there are no aliases")
    grown = {name: size - objects_before.get(name, 0)
             for name, size in objects.items()}
    largest = sorted(grown.items(), key=lambda item: item[1], reverse=True)[:8]
    yield {**states, "kernel_memory": slabs - slabs_before,
           "kernel_objects": sum(grown.values()),
           "largest_caches": dict(largest)}
    if count_states(directories) != states:
        raise GuestError("aliases ended while the containers ran")
    run(tool, "release", *directories)
    drop_caches()
    left = count_states(directories)["aliases"]
    if left:
        raise GuestError(f"{left} aliases are left after their release")
