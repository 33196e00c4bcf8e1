// Command csi-local is the storage of a one-node test cluster: a provisioner of PersistentVolumes and a CSI driver that
// keeps each volume on the node's own disk, in one of two ways that the StorageClass parameter "kind" chooses:
//
//	directory  a plain directory, bind-mounted into the pod; its size is not enforced
//	image      a sparse file with an XFS file system, loop-mounted; its size is real, grows online, and can fill up
//	           (XFS, because growing ext4 online takes CAP_SYS_RESOURCE, which not every machine gives)
//
// It creates, deletes and grows volumes, and registers itself with the kubelet.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

const driverName = "local.csi.test"

func main() {
	node := flag.String("node", "", "name of the node")
	root := flag.String("root", "", "folder of the volumes")
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	kubelet := flag.String("kubelet", "/var/lib/kubelet", "root folder of the kubelet")
	flag.Parse()
	volumes, err := openVolumes(*root)
	if err != nil {
		log.Fatal(err)
	}
	d := &driver{volumes: volumes, node: *node, endpoint: filepath.Join(*kubelet, "plugins", driverName, "csi.sock")}
	ended := make(chan error)
	go func() {
		ended <- serve(d.endpoint, func(s *grpc.Server) {
			csi.RegisterIdentityServer(s, d)
			csi.RegisterControllerServer(s, d)
			csi.RegisterNodeServer(s, d)
		})
	}()
	go func() {
		ended <- serve(filepath.Join(*kubelet, "plugins_registry", driverName+"-reg.sock"), func(s *grpc.Server) {
			registration.RegisterRegistrationServer(s, d)
		})
	}()
	go func() { ended <- provision(context.Background(), *kubeconfig, volumes) }()
	log.Fatal(<-ended)
}

// serve answers on a unix socket, made anew.
func serve(path string, register func(*grpc.Server)) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	s := grpc.NewServer(grpc.UnaryInterceptor(logCalls))
	register(s)
	return s.Serve(l)
}

func logCalls(ctx context.Context, q any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	answer, err := next(ctx, q)
	if method := filepath.Base(info.FullMethod); err != nil || !strings.Contains(method, "Get") && method != "Probe" {
		log.Printf("%s %v -> %v %v", method, q, answer, err)
	}
	return answer, err
}
