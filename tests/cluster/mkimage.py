#!/usr/bin/env python3
"""Wraps the archive of a root file system as an image archive that containerd and Docker load."""

import argparse
import hashlib
import io
import json
import platform
import tarfile

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", nargs="+", required=True, help="REPOSITORY:TAG, several for several names")
    parser.add_argument("--user", default="")
    parser.add_argument("--workdir", default="/")
    parser.add_argument("--entrypoint", nargs="+", required=True)
    parser.add_argument("layer", help="uncompressed tar of the root file system")
    parser.add_argument("out")
    return parser.parse_args()


def digest_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def config(args):
    return json.dumps({
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {
            "Entrypoint": args.entrypoint,
            "User": args.user,
            "WorkingDir": args.workdir,
            "Env": [f"PATH={PATH}"],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest_of(args.layer)}"]},
        "history": [{"created": "2020-01-01T00:00:00Z"}],
    }).encode()


def add(archive, name, data):
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def main():
    args = arguments()
    config_bytes = config(args)
    config_name = hashlib.sha256(config_bytes).hexdigest() + ".json"
    manifest = [{"Config": config_name, "RepoTags": args.name, "Layers": ["layer.tar"]}]
    with tarfile.open(args.out, "w") as archive:
        add(archive, config_name, config_bytes)
        add(archive, "manifest.json", json.dumps(manifest).encode())
        archive.add(args.layer, "layer.tar")


main()
