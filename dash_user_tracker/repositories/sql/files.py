"""The file of an SQLite store: where it is, and whether its disk is fit for it."""

from __future__ import annotations

import os
import re

from ...errors import ConfigurationError

#: File systems that other hosts share, on which WAL corrupts (https://www.sqlite.org/wal.html, "same host").
NETWORK = re.compile(
    r"nfs\d?|cifs|smb\w*|ncpfs|9p|afs|ceph|gfs2?|ocfs2|lustre|gpfs|beegfs|glusterfs|davfs"
    r"|fuse\.(sshfs|s3fs|s3ql|rclone|gcsfuse|goofys|geesefs|mount-s3|blobfuse2?|juicefs|glusterfs|ceph\S*|davfs2?"
    r"|curlftpfs|smbnetfs|gvfsd-fuse|mfs|moosefs|seaweedfs|weed|lizardfs|nfs\S*|afp\S*)"
)


def check_file(file: str) -> None:
    """ConfigurationError where *file*, an absolute path, cannot be a store: its folder, or the disk it is on."""
    folder = os.path.dirname(file)
    if not os.path.isdir(folder):
        raise ConfigurationError(f"url must name a file in an existing folder, got {file!r}: create {folder!r} first")
    if os.path.isdir(file):
        raise ConfigurationError(f"url must name a file, got the folder {file!r}")
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            kind = file_system_of(os.path.realpath(folder), mounts.read())
    except OSError:  # not Linux: nothing is known
        return
    if NETWORK.fullmatch(kind):
        raise ConfigurationError(
            f"url must name a file on a local disk, got {file!r} on a network file system ({kind}), where SQLite's log "
            "corrupts; use a local folder, a database server ('postgresql://...'), or send the events to one host with "
            "HttpTrackerRepository"
        )


def file_system_of(path: str, mountinfo: str) -> str:
    """The type of the file system that *path*, absolute and real, is on, by ``/proc/self/mountinfo`` (proc(5))."""
    kind, longest = "", -1
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        inside = point == "/" or path == point or path.startswith(f"{point}/")
        if inside and len(point) >= longest:  # of two on one point the later hides the earlier
            kind, longest = after.split(" ")[0], len(point)
    return kind
