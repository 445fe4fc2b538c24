// Command inspect looks at recorded traffic in Kafka.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/reprise-io/reprise/cmd/internal/cli"
)

func main() { os.Exit(cli.Main(newRoot())) }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "inspect",
		Short: "Look at recorded traffic in Kafka",
		Long: `Look at recorded traffic in Kafka: list it, follow it, find one exchange, count by route, and what replays came to.

Reading disturbs nobody: no consumer group is joined and nothing is written. Data goes to stdout, as tables on
a terminal and as one JSON object a line otherwise; everything else goes to stderr. A terminal sees bodies with
--show-bodies only; whenever bodies are written, a line on stderr says who asked for them, and for which.

` + cli.ExitCodes,
		Example: `  # What is there, and what it looks like
  inspect topics
  inspect stats --from now-1h

  # Is anything missing that nobody has counted?
  inspect audit

  # The failed writes of the last ten minutes, and one of them in full
  inspect cat --from now-10m --filter 'POST /api/**' --filter 'status >= 500'
  inspect get 9f3c…:18a3 --show-bodies

  # What a replay came to, and where answers differ
  inspect runs
  inspect report build-481 --html report.html
  inspect serve

  # For scripts
  inspect cat --from yesterday --to today -o ndjson | jq -r .request.target
  inspect tail -o ndjson`,
	}
	root.AddCommand(newTopicsCommand(), newStatsCommand(), newCatCommand(), newTailCommand(), newGetCommand(), newAuditCommand(),
		newRulesCommand(), newLintCommand(), newGrepCommand(), newExportCommand(), newRunsCommand(), newReportCommand(), newDiffCommand(),
		newServeCommand())
	return root
}
