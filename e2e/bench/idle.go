package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/reprise-io/reprise/e2e/proc"
)

const (
	perConnectionBar = 32 << 10 // bytes
	perAddress       = 5000     // connections from one of our own addresses: far from its ports' end
	spareFiles       = 500      // what a proxy opens besides two for each connection
)

// idle measures the memory that connections take on which nothing happens: each has had one request and its answer.
func (b *bench) idle(ctx context.Context) error {
	w, err := b.startWays(ctx, "idle") // the origin
	if err != nil {
		return err
	}
	defer w.stop()
	t := table{
		title: "Memory of idle keep-alive connections",
		head:  []string{"connections", "RSS MiB", "of which before", "KiB a connection (asked: ≤ 32)", "", "seen", "dropped"},
		notes: []string{
			"Each connection has had one request with its answer, recorded, and stays open: the tap holds two sockets for it. The kernel's part of",
			"sockets is not in RSS. \"Before\" is the same tap after 2,000 requests on 32 connections. 10,000 are meant; fewer where a program may",
			fmt.Sprintf("not open 20,500 files (here %d).", openFiles()),
		},
	}
	for _, n := range []int{600, min(10000, (openFiles()-spareFiles)/2)} {
		if err := b.idleRow(ctx, w.origin, n, &t); err != nil {
			return fmt.Errorf("%d connections: %w", n, err)
		}
	}
	b.tables = append(b.tables, t)
	return nil
}

func (b *bench) idleRow(ctx context.Context, origin string, n int, t *table) error {
	tap, err := b.startTap(ctx, "proxy", "idle", "--upstream", origin)
	if err != nil {
		return err
	}
	defer tap.Kill()
	if _, err := fixed(ctx, tap.addr, small(32), 2000, time.Second); err != nil {
		return err
	}
	if _, err := tap.kept(ctx); err != nil {
		return err
	}
	_, before, err := tap.UsageNow()
	if err != nil {
		return err
	}
	var open []net.Conn
	defer func() {
		for _, conn := range open {
			_ = conn.Close()
		}
	}()
	for i := range n {
		conn, err := idleAfterOne(ctx, tap.addr, i/perAddress)
		if err != nil {
			return fmt.Errorf("connection %d: %w", i+1, err)
		}
		open = append(open, conn)
	}
	k, err := tap.kept(ctx)
	if err != nil {
		return err
	}
	pause(ctx, b.fixedFor) // what only the work took is given back
	_, after, err := tap.UsageNow()
	if err != nil {
		return err
	}
	m, err := proc.Scrape(ctx, tap.admin)
	if err != nil {
		return err
	}
	each := float64(after-before) / float64(n)
	progress("idle: %d connections, %d MiB, %.1f KiB each", n, after>>20, each/1024)
	t.rows = append(t.rows, []string{
		fmt.Sprintf("%d (%.0f by the tap's count)", n, m.Sum("reprise_tap_connections")), fmt.Sprint(after >> 20), fmt.Sprint(before >> 20),
		fmt.Sprintf("%.1f", each/1024), held(each <= perConnectionBar), fmt.Sprintf("%.0f", k.seen), fmt.Sprintf("%.0f", k.dropped),
	})
	return nil
}

// idleAfterOne connects from one of the loopback addresses and has one request answered.
func idleAfterOne(ctx context.Context, addr string, from int) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+from))}}
	conn, err := dialer.DialContext(ctx, "tcp4", addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err = conn.Write(small(1).request(addr)); err == nil {
		var resp *http.Response
		if resp, err = http.ReadResponse(bufio.NewReaderSize(conn, 1024), nil); err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}
