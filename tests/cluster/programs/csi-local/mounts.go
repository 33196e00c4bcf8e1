package main

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// mountedAt returns the source of the topmost mount at a path, or "" when nothing is mounted there.
func mountedAt(path string) (source string) {
	b, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 2 && f[1] == path {
			source = f[0]
		}
	}
	return source
}

// unmount takes every mount from a path and removes the folder.
func unmount(path string) error {
	for mountedAt(path) != "" {
		if err := unix.Unmount(path, 0); err != nil {
			return status.Errorf(codes.Internal, "unmount %s: %v", path, err)
		}
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// resize lets the loop device and then the mounted XFS take up the whole of the file.
func resize(path string) error {
	if err := run("losetup", "--set-capacity", mountedAt(path)); err != nil {
		return err
	}
	return run("xfs_growfs", path)
}
