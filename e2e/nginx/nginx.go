// Package nginx runs a real nginx for the end-to-end tests: unprivileged, with all its files in one directory.
package nginx

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/reprise-io/reprise/e2e/proc"
)

// Options describe a server.
type Options struct {
	Dir  string // of its configuration, where include looks, and of all that it writes
	HTTP string // what stands in the http block
	Addr string // that it listens on; Start waits until it does
}

// Start starts nginx, one worker. Whoever starts it stops it.
func Start(ctx context.Context, o Options) (*proc.Process, error) {
	path, err := find()
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(o.Dir, "nginx.conf")
	if err := os.WriteFile(conf, []byte(configuration(o.HTTP)), 0o600); err != nil {
		return nil, err
	}
	p, err := proc.Start(proc.Options{Path: path, Args: []string{"-p", o.Dir, "-c", conf, "-e", "stderr"}})
	if err != nil {
		return nil, err
	}
	err = proc.Poll(ctx, func() error {
		select {
		case <-p.Exited():
			return proc.Final(fmt.Errorf("nginx %w:\n%s", proc.ErrExited, p.Stderr()))
		default:
		}
		nc, err := net.Dial("tcp", o.Addr)
		if err == nil {
			err = nc.Close()
		}
		return err
	})
	if err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// find also looks where distributions put it, which is not on everybody's path.
func find() (string, error) {
	if path, err := exec.LookPath("nginx"); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/sbin/nginx")
}

func configuration(http string) string {
	user := ""
	if os.Geteuid() == 0 { // else workers become nobody, and cannot write into Dir
		user = "user root;\n"
	}
	return user + `daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
` + http + `
}
`
}
