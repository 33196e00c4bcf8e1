package main

import (
	"context"
	"strconv"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// provision makes and deletes the PersistentVolumes of the classes that name this driver, until the context ends.
func provision(ctx context.Context, kubeconfig string, v *volumes) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	controller.NewProvisionController(ctx, client, driverName, provisioner{v}, controller.LeaderElection(false)).Run(ctx)
	return ctx.Err()
}

type provisioner struct{ *volumes }

func (p provisioner) Provision(_ context.Context, o controller.ProvisionOptions) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	request := o.PVC.Spec.Resources.Requests[v1.ResourceStorage]
	r := &volume{ID: o.PVName, Kind: o.StorageClass.Parameters["kind"], Size: request.Value(), Offline: o.StorageClass.Parameters["offline"] == "true"}
	r.MaxSize, _ = strconv.ParseInt(o.StorageClass.Parameters["maxBytes"], 10, 64)
	r, err := p.create(r)
	if err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	capacity := request
	capacity.Set(max(r.Size, request.Value()))
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: v1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   o.PVC.Spec.AccessModes,
			MountOptions:                  o.StorageClass.MountOptions,
			Capacity:                      v1.ResourceList{v1.ResourceStorage: capacity},
			PersistentVolumeSource: v1.PersistentVolumeSource{
				CSI: &v1.CSIPersistentVolumeSource{Driver: driverName, VolumeHandle: r.ID},
			},
		},
	}, controller.ProvisioningFinished, nil
}

func (p provisioner) Delete(_ context.Context, pv *v1.PersistentVolume) error {
	return p.remove(pv.Spec.CSI.VolumeHandle)
}
