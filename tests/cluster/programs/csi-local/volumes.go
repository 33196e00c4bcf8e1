package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	kindDirectory = "directory"
	kindImage     = "image"
	minimumSize   = 300 << 20 // what XFS takes
)

// volume is what the driver remembers of a volume, beside its data.
type volume struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Size    int64  `json:"size"`              // bytes
	MaxSize int64  `json:"maxSize,omitempty"` // bytes, 0 for any
	Mounted string `json:"mounted,omitempty"` // of an image: where it is staged
	Staged  int64  `json:"staged,omitempty"`  // of an image: its size when it was staged
	Offline bool   `json:"offline,omitempty"` // of an image: its file system grows only when it is staged
}

// volumes is the folder that holds every volume in a folder of its own. Its lock is held through every operation.
type volumes struct {
	sync.Mutex
	root string
}

func openVolumes(root string) (*volumes, error) {
	v := &volumes{root: root}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	names, err := filepath.Glob(filepath.Join(root, "*"))
	if err != nil {
		return nil, err
	}
	// A mount outlives the driver, but not the cluster.
	for _, name := range names {
		r, err := v.load(filepath.Base(name))
		if err != nil || r.Mounted == "" || mountedAt(r.Mounted) != "" {
			continue
		}
		r.Mounted = ""
		if err := v.save(r); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (v *volumes) folder(id string) string { return filepath.Join(v.root, filepath.Base(id)) }

func (v *volumes) data(r *volume) string {
	if r.Kind == kindImage {
		return filepath.Join(v.folder(r.ID), "image.xfs")
	}
	return filepath.Join(v.folder(r.ID), "data")
}

func (v *volumes) load(id string) (*volume, error) {
	b, err := os.ReadFile(filepath.Join(v.folder(id), "volume.json"))
	if os.IsNotExist(err) {
		return nil, status.Errorf(codes.NotFound, "%s does not exist", id)
	}
	r := new(volume)
	if err == nil {
		err = json.Unmarshal(b, r)
	}
	return r, err
}

// save is the last step of a creation: what has no record does not exist and is made again.
func (v *volumes) save(r *volume) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := filepath.Join(v.folder(r.ID), "volume.json")
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// create makes a volume, or completes it when it was begun before; it returns the one that exists otherwise.
func (v *volumes) create(r *volume) (*volume, error) {
	v.Lock()
	defer v.Unlock()
	switch {
	case r.Kind == kindImage:
		r.Size = max(r.Size, minimumSize)
	case r.Kind != kindDirectory:
		return nil, status.Errorf(codes.InvalidArgument, "kind %q is neither %s nor %s", r.Kind, kindDirectory, kindImage)
	}
	if err := r.checkSize(r.Size); err != nil {
		return nil, err
	}
	if old, err := v.load(r.ID); err == nil {
		return old, nil
	}
	if err := os.RemoveAll(v.folder(r.ID)); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(v.folder(r.ID), 0o755); err != nil {
		return nil, err
	}
	if err := v.format(r); err != nil {
		return nil, err
	}
	return r, v.save(r)
}

func (v *volumes) format(r *volume) error {
	if r.Kind == kindDirectory {
		return os.Mkdir(v.data(r), 0o755)
	}
	if err := enlarge(v.data(r), r.Size); err != nil {
		return err
	}
	return run("mkfs.xfs", "-q", v.data(r))
}

func (v *volumes) remove(id string) error {
	v.Lock()
	defer v.Unlock()
	if r, err := v.load(id); err == nil && r.Mounted != "" {
		return status.Errorf(codes.FailedPrecondition, "%s is mounted at %s", r.ID, r.Mounted)
	}
	return os.RemoveAll(v.folder(id))
}

// grow raises the size of a volume; the mounted file system of an image follows by resize.
func (v *volumes) grow(id string, size int64) (*volume, error) {
	v.Lock()
	defer v.Unlock()
	r, err := v.load(id)
	if err != nil {
		return nil, err
	}
	if err := r.checkSize(size); err != nil {
		return nil, err
	}
	r.Size = max(r.Size, size)
	if r.Kind == kindImage {
		if err := enlarge(v.data(r), r.Size); err != nil {
			return nil, err
		}
	}
	return r, v.save(r)
}

func (r *volume) checkSize(size int64) error {
	if r.MaxSize > 0 && size > r.MaxSize {
		return status.Errorf(codes.OutOfRange, "%d bytes is more than the storage class's maxBytes of %d", size, r.MaxSize)
	}
	return nil
}

// enlarge makes a sparse file at least size bytes long.
func enlarge(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() >= size {
		return err
	}
	return f.Truncate(size)
}

func run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return status.Errorf(codes.Internal, "%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
