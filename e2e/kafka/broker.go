// Package kafka starts a real Apache Kafka broker for the end-to-end tests and the benchmarks: one JVM, broker and
// controller in one, on loopback. The jars are fetched by `make e2e` from Maven Central.
package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/reprise-io/reprise/e2e/proc"
)

// Options say where the broker lives.
type Options struct {
	Jars   string  // folder with the jars
	Dir    string  // for configuration, data and log; must exist
	HeapMB int     // 0: 512
	Secure *Secure // nil: plaintext, and everybody may do everything

	Data string   // folder of the records; "": in Dir
	Wrap []string // a program with its arguments that runs the one behind them; nil: none
	Env  []string // more of the environment
}

// Broker is one Kafka broker. It keeps its address and its data over Stop, Kill and Start.
type Broker struct {
	options    Options
	addr       string
	controller string
	security   *security     // nil: none
	process    *proc.Process // nil: not running
}

// startTimeout is generous: a first start with a cold disk cache on a busy machine.
const startTimeout = 90 * time.Second

// New formats the storage of a new broker; Start runs it.
func New(ctx context.Context, o Options) (*Broker, error) {
	if o.HeapMB == 0 {
		o.HeapMB = 512
	}
	if found, _ := filepath.Glob(filepath.Join(o.Jars, "kafka_*.jar")); len(found) == 0 {
		return nil, fmt.Errorf("no Kafka jars in %s: run make e2e, or make .cache/kafka.stamp", o.Jars)
	}
	b := &Broker{options: o}
	var err error
	if b.addr, err = proc.FreeAddr(); err != nil {
		return nil, err
	}
	if b.controller, err = proc.FreeAddr(); err != nil {
		return nil, err
	}
	var users []string
	if o.Secure != nil {
		if err := b.prepareSecurity(*o.Secure); err != nil {
			return nil, err
		}
		users = b.security.scram()
	}
	if err := os.WriteFile(b.path("server.properties"), []byte(b.properties()), 0o600); err != nil {
		return nil, err
	}
	format, err := proc.Run(ctx, b.java(append([]string{
		"-XX:TieredStopAtLevel=1",
		"kafka.tools.StorageTool", "format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c", b.path("server.properties"),
	}, users...)...))
	if err != nil {
		return nil, err
	}
	if format.Code != 0 {
		return nil, fmt.Errorf("format storage: exit code %d\n%s", format.Code, format.Stderr)
	}
	return b, nil
}

func (b *Broker) path(name string) string { return filepath.Join(b.options.Dir, name) }

// properties: nothing is created on its own, a group does not wait for members, and internal topics are small, so that
// a start is a matter of seconds.
func (b *Broker) properties() string {
	var more []string
	listeners, advertised, protocols := "", "", ""
	if b.security != nil {
		more = b.security.properties(b)
		listeners, advertised, protocols = b.security.listeners()
	}
	return strings.Join(append([]string{
		"process.roles=broker,controller",
		"node.id=1",
		"controller.quorum.voters=1@" + b.controller,
		"listeners=PLAINTEXT://" + b.addr + ",CONTROLLER://" + b.controller + listeners,
		"advertised.listeners=PLAINTEXT://" + b.addr + advertised,
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT" + protocols,
		"controller.listener.names=CONTROLLER",
		"inter.broker.listener.name=PLAINTEXT",
		"log.dirs=" + cmp.Or(b.options.Data, b.path("data")),
		"auto.create.topics.enable=false",
		"group.initial.rebalance.delay.ms=0",
		"group.consumer.session.timeout.ms=10000", // as the replayer asks for where it may, instead of 45 s
		"group.consumer.min.session.timeout.ms=10000",
		"offsets.topic.num.partitions=3",
		"offsets.topic.replication.factor=1",
		"transaction.state.log.num.partitions=1",
		"transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1",
		"num.network.threads=2",
		"num.io.threads=4",
	}, more...), "\n") + "\n"
}

// java describes a JVM that runs a class of Kafka's.
func (b *Broker) java(args ...string) proc.Options {
	jvm := []string{
		"-Xmx" + strconv.Itoa(b.options.HeapMB) + "m", "-XX:+UseSerialGC", "-Xshare:auto",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=info", "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
		"-cp", filepath.Join(b.options.Jars, "*"),
	}
	if b.security != nil {
		jvm = append(jvm, b.security.jvm()...)
	}
	command := slices.Concat(b.options.Wrap, []string{"java"}, jvm, args)
	return proc.Options{Path: command[0], Args: command[1:], Env: b.options.Env}
}

// Start runs the broker and waits until it serves.
func (b *Broker) Start(ctx context.Context) error {
	if b.process != nil {
		return errors.New("the broker is running already")
	}
	p, err := proc.Start(b.java("kafka.Kafka", b.path("server.properties")))
	if err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return fmt.Errorf("%w: install default-jre-headless, or run make e2e as root", err)
		}
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if _, err := p.WaitLine(ctx, "Kafka Server started"); err != nil {
		p.Kill()
		return err
	}
	b.process = p
	return nil
}

// Addr is the broker's address, the same over restarts.
func (b *Broker) Addr() string { return b.addr }

// Running tells whether the broker was started and not stopped.
func (b *Broker) Running() bool { return b.process != nil }

// Stop shuts the broker down as an operator does. It does nothing when it is not running.
func (b *Broker) Stop() error {
	if b.process == nil {
		return nil
	}
	p := b.process
	b.process = nil
	_, err := p.Stop(30 * time.Second)
	return err
}

// Kill ends the broker as a crash does.
func (b *Broker) Kill() {
	if b.process != nil {
		b.process.Kill()
		b.process = nil
	}
}

// Pause freezes the broker: connections stay open and nothing is answered. Resume lets it go on.
func (b *Broker) Pause() { b.process.Signal(syscall.SIGSTOP) }

// Resume undoes Pause.
func (b *Broker) Resume() { b.process.Signal(syscall.SIGCONT) }

// Exited is closed when the broker has ended, however it came to that; Kill is due then all the same.
func (b *Broker) Exited() <-chan struct{} { return b.process.Exited() }

// Log returns what the broker has said since its last start.
func (b *Broker) Log() string {
	if b.process == nil {
		return ""
	}
	return b.process.Stdout() + b.process.Stderr()
}
