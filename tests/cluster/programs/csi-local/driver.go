package main

import (
	"context"
	"io/fs"
	"log"
	"os"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// driver answers the kubelet and the resizer.
type driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedControllerServer
	csi.UnimplementedNodeServer
	registration.UnimplementedRegistrationServer
	*volumes
	node, endpoint string
}

// Registration with the kubelet

func (d *driver) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{Type: "CSIPlugin", Name: driverName, Endpoint: d.endpoint, SupportedVersions: []string{"1.0.0"}}, nil
}

func (d *driver) NotifyRegistrationStatus(_ context.Context, s *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	log.Printf("registered with the kubelet: %v %s", s.PluginRegistered, s.Error)
	return &registration.RegistrationStatusResponse{}, nil
}

// Identity

func (d *driver) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: driverName, VendorVersion: "1"}, nil
}

func (d *driver) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{Capabilities: []*csi.PluginCapability{
		{Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{Type: csi.PluginCapability_Service_CONTROLLER_SERVICE}}},
		{Type: &csi.PluginCapability_VolumeExpansion_{VolumeExpansion: &csi.PluginCapability_VolumeExpansion{Type: csi.PluginCapability_VolumeExpansion_ONLINE}}},
	}}, nil
}

func (d *driver) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{}, nil
}

// Controller: creation and deletion are the provisioner's, which shares the volumes.

func (d *driver) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	expand := &csi.ControllerServiceCapability_RPC{Type: csi.ControllerServiceCapability_RPC_EXPAND_VOLUME}
	return &csi.ControllerGetCapabilitiesResponse{Capabilities: []*csi.ControllerServiceCapability{
		{Type: &csi.ControllerServiceCapability_Rpc{Rpc: expand}},
	}}, nil
}

func (d *driver) ControllerExpandVolume(_ context.Context, q *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	r, err := d.grow(q.VolumeId, q.CapacityRange.GetRequiredBytes())
	if err != nil {
		return nil, err
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: r.Size, NodeExpansionRequired: r.Kind == kindImage}, nil
}

// Node

func (d *driver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: d.node}, nil
}

func (d *driver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	answer := &csi.NodeGetCapabilitiesResponse{}
	for _, t := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
		csi.NodeServiceCapability_RPC_EXPAND_VOLUME,
		csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
	} {
		answer.Capabilities = append(answer.Capabilities, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: t}}})
	}
	return answer, nil
}

func (d *driver) NodeStageVolume(_ context.Context, q *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	d.Lock()
	defer d.Unlock()
	r, err := d.load(q.VolumeId)
	if err == nil && mountedAt(q.StagingTargetPath) == "" {
		err = d.stage(r, q.StagingTargetPath)
	}
	if err != nil {
		return nil, status.Errorf(codes.Internal, "stage %s: %v", q.VolumeId, err)
	}
	return &csi.NodeStageVolumeResponse{}, nil
}

func (d *driver) stage(r *volume, path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	if r.Kind == kindDirectory {
		return unix.Mount(d.data(r), path, "", unix.MS_BIND, "")
	}
	if err := run("mount", "-o", "loop", "-t", "xfs", d.data(r), path); err != nil {
		return err
	}
	r.Mounted, r.Staged = path, r.Size
	if err := d.save(r); err != nil {
		return err
	}
	return resize(path)
}

func (d *driver) NodeUnstageVolume(_ context.Context, q *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	d.Lock()
	defer d.Unlock()
	if err := unmount(q.StagingTargetPath); err != nil {
		return nil, err
	}
	if r, err := d.load(q.VolumeId); err == nil && r.Mounted != "" {
		r.Mounted = ""
		return &csi.NodeUnstageVolumeResponse{}, d.save(r)
	}
	return &csi.NodeUnstageVolumeResponse{}, nil
}

func (d *driver) NodePublishVolume(_ context.Context, q *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	d.Lock()
	defer d.Unlock()
	if mountedAt(q.TargetPath) != "" {
		return &csi.NodePublishVolumeResponse{}, nil
	}
	if err := os.MkdirAll(q.TargetPath, 0o755); err != nil {
		return nil, err
	}
	err := unix.Mount(q.StagingTargetPath, q.TargetPath, "", unix.MS_BIND, "")
	if err == nil && q.Readonly {
		err = unix.Mount("", q.TargetPath, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
	}
	if err != nil {
		return nil, status.Errorf(codes.Internal, "bind %s to %s: %v", q.StagingTargetPath, q.TargetPath, err)
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

func (d *driver) NodeUnpublishVolume(_ context.Context, q *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	d.Lock()
	defer d.Unlock()
	if err := unmount(q.TargetPath); err != nil {
		return nil, err
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

func (d *driver) NodeExpandVolume(_ context.Context, q *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	d.Lock()
	defer d.Unlock()
	r, err := d.load(q.VolumeId)
	// The kubelet calls this after it mounted the volume for a pod as well as while a pod uses it.
	if err == nil && r.Offline && r.Mounted != "" && r.Staged < r.Size {
		err = status.Errorf(codes.FailedPrecondition, "%s is mounted at %s and grows only when it is mounted anew", r.ID, r.Mounted)
	}
	if err == nil && r.Mounted != "" {
		err = resize(r.Mounted)
	}
	if err != nil {
		return nil, err
	}
	return &csi.NodeExpandVolumeResponse{CapacityBytes: r.Size}, nil
}

func (d *driver) NodeGetVolumeStats(_ context.Context, q *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	r, err := d.load(q.VolumeId)
	if err != nil {
		return nil, err
	}
	var total, used, free int64
	if r.Kind == kindImage {
		var s unix.Statfs_t
		if err := unix.Statfs(q.VolumePath, &s); err != nil {
			return nil, status.Errorf(codes.NotFound, "%s: %v", q.VolumePath, err)
		}
		total, free = int64(s.Blocks)*s.Bsize, int64(s.Bavail)*s.Bsize
		used = total - int64(s.Bfree)*s.Bsize
	} else {
		used = sizeOf(d.data(r))
		total, free = r.Size, max(0, r.Size-used)
	}
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{{Unit: csi.VolumeUsage_BYTES, Total: total, Used: used, Available: free}}}, nil
}

// sizeOf adds up the files below a folder. Files that vanish meanwhile count nothing.
func sizeOf(folder string) (bytes int64) {
	_ = filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			bytes += info.Size()
		}
		return nil
	})
	return bytes
}
