package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/reprise-io/reprise/cmd/internal/cli"
	"github.com/reprise-io/reprise/internal/broker"
	"github.com/reprise-io/reprise/internal/topic"
)

// oneMachine is said whenever the embedded broker starts.
const oneMachine = "this broker is embedded and for ONE MACHINE: it has no replication and is not production storage"

func newBrokerCommand() *cobra.Command {
	var shared cli.Shared
	var data, listen string
	c := &cobra.Command{
		Use:   "broker --data DIR [--listen A]",
		Short: "Run a Kafka-compatible broker for one machine",
		Long: `Run a Kafka-compatible broker for one machine, with its data on disk: for a first look, a laptop, a test.
It has no replication and keeps at most 1 GiB in all. For production use a real Kafka.`,
		Example: `  tap broker --data ./kafka-data
  tap broker --data ./kafka-data --listen 127.0.0.1:19092`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := shared.Logger(os.Stderr)
			if err != nil {
				return err
			}
			b, err := startBroker(data, listen, shared.TopicPrefix, log)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "listening on %s\n", b.Addr())
			<-c.Context().Done()
			return b.Close()
		},
	}
	fs := c.Flags()
	shared.AddLog(fs)
	fs.StringVar(&data, "data", "", "directory of its data, made when missing")
	fs.StringVar(&listen, "listen", "127.0.0.1:9092", "address to listen on")
	shared.AddTopicPrefix(fs, "create PREFIX.exchanges, PREFIX.control and PREFIX.results")
	_ = c.MarkFlagRequired("data")
	return c
}

func startBroker(data, listen, prefix string, log *slog.Logger) (*broker.Broker, error) {
	log.Warn(oneMachine, "data", data)
	return broker.Start(broker.Options{
		Data: data, Listen: listen, Logger: log, Topics: topic.EmbeddedSpecs(topic.NamesOf(prefix)),
	})
}
