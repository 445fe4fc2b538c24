// Command tap captures requests and responses at the production edge into Kafka.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/reprise-io/reprise/cmd/internal/cli"
)

func main() { os.Exit(cli.Main(newRoot())) }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "tap",
		Short: "Capture production traffic into Kafka, without ever holding it up",
		Long: `Capture production traffic into Kafka, without ever holding it up.

Bytes are passed on first; parsing, redaction and Kafka come after, out of band. When Kafka, the disk or the
tap's own parser fail, capture is shed and counted, and the traffic goes on.

` + cli.ExitCodes,
		Example: `  # In front of a service: clients to :8080, the service on :9000, records to the Kafka on this machine
  tap proxy --listen :8080 --upstream 127.0.0.1:9000

  # The same with a Kafka-compatible broker inside, for one machine
  tap proxy --listen :8080 --upstream 127.0.0.1:9000 --embedded ./kafka-data

  # Behind an nginx or Envoy that mirrors requests to it
  tap mirror --listen 127.0.0.1:18081

  # Filters in your own code
  tap ingest --listen 127.0.0.1:8090

  # Beside an Envoy that copies requests and responses to it
  tap extproc --listen 127.0.0.1:9002

  # Beside a service, from copies of the packets of its network interface
  tap sniff --interface eth0 --port 8080

  # Several sources from one file; and less of it, while it runs
  tap run --config tap.yaml
  tap set --sample 10%

  # Traffic recorded by other tools
  tap import yesterday.gor browser.har access.log.gz
  tap import browser.har --print | jq .request.target`,
	}
	root.AddCommand(newProxyCommand(), newMirrorCommand(), newSniffCommand(), newExtprocCommand(), newIngestCommand(), newRunCommand(), newSetCommand(),
		newImportCommand(), newBrokerCommand())
	return root
}
