#!/usr/bin/python3
"""The outside of an ivshmem-doorbell device: as a server for one QEMU, and as
the peers 1 and 2 of it, in place of ivshmem-server, which is in no package.

Usage:  ivshmem.py SOCKET VECTORS
        Peer 1 rings back, by the vector that it was rung by. Peer 2 rings all
        vectors of the guest, 2,000 times, then counts in the first word of the
        shared memory.
"""
import contextlib
import mmap
import os
import select
import socket
import struct
import sys
import time

SIZE = 1 << 20
GUEST, ECHO, STORM = 0, 1, 2


def send(conn, number, fd=None):
    """A message is a number, and maybe a file."""
    data = struct.pack("<q", number)
    if fd is None:
        conn.sendall(data)
    else:
        socket.send_fds(conn, [data], [fd])


def serve(conn, vectors, memory, view):
    """Introduce the peers to the guest, and play them until it goes."""
    doors = {peer: [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(vectors)]
             for peer in (GUEST, ECHO, STORM)}
    send(conn, 0)       # the version of the protocol
    send(conn, GUEST)
    send(conn, -1, memory)
    for peer in (ECHO, STORM, GUEST):
        for door in doors[peer]:
            send(conn, peer, door)

    rung = {door: (peer, vector) for peer in (ECHO, STORM)
            for vector, door in enumerate(doors[peer])}
    poll = select.poll()
    for fd in [conn.fileno(), *rung]:
        poll.register(fd, select.POLLIN)
    while True:
        # In order of the file descriptors: lower vectors first.
        for fd, _ in sorted(poll.poll()):
            if fd == conn.fileno():
                if not conn.recv(8):
                    return
                continue
            peer, vector = rung[fd]
            os.eventfd_read(fd)
            if peer == ECHO:
                os.eventfd_write(doors[GUEST][vector], 1)
                continue
            for _ in range(2000):
                for door in doors[GUEST]:
                    os.eventfd_write(door, 1)
                time.sleep(0.001)
            count, = struct.unpack_from("<I", view)
            struct.pack_into("<I", view, 0, count + 1)


def main():
    """Wait for QEMU, once after the other."""
    path, vectors = sys.argv[1], int(sys.argv[2])
    memory = os.memfd_create("ivshmem")
    os.ftruncate(memory, SIZE)
    view = mmap.mmap(memory, SIZE)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    while True:
        conn, _ = listener.accept()
        with conn, contextlib.suppress(ConnectionError):
            serve(conn, vectors, memory, view)


main()
