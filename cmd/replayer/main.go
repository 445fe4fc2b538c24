// Command replayer fires recorded traffic at pre-production: live behind production, later, slower or faster.
package main

import (
	"os"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/reprise-io/reprise/cmd/internal/cli"
)

func main() {
	tune()
	os.Exit(cli.Main(newRoot(), syscall.SIGHUP)) // there is nothing to read again, and a terminal that is gone must not cut off what is under way
}

// tune sets what the pacing loop needs: a thread that wakes at its deadline still needs a P to run on, even when all
// cores are at work. The runtime knows how many these are: by the affinity, and by the CPU quota of a container, over which the
// kernel would stop all threads until the next period. A GOMAXPROCS in the environment is taken as it is.
func tune() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
}

// untune is for a run that has no pacing loop: one more thread at work than there are cores only makes them take turns.
func untune() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.SetDefaultGOMAXPROCS()
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "replayer",
		Short: "Replay recorded traffic at pre-production, on time",
		Long: `Replay recorded traffic at pre-production: live behind production, later, slower or faster.

Nothing is sent unless the target is named and allowed, and it is never production: what taps report, --production and the
rules file name is refused, address by address. Writes are refused unless a rule allows them. Every request is marked, and
a tap ignores marked requests. replayer stop, SIGUSR1 and --kill-file are kill switches.

` + cli.ExitCodes,
		Example: `  # What would be sent, and what refused? Sends nothing.
  replayer plan --target http://preprod:8080 --allow-target preprod:8080

  # Yesterday's noon, twice as fast
  replayer run --target http://preprod:8080 --allow-target preprod:8080 \
      --from 2026-11-22T12:00:00Z --to 2026-11-22T12:15:00Z --speed 2

  # Three seconds behind production, until Ctrl-C
  replayer live --target http://preprod:8080 --allow-target preprod:8080

  # The same command again resumes a run that was stopped; --restart begins it anew
  replayer run --run build-481 --target http://preprod:8080 --allow-target preprod:8080

  # All replicas of a run obey within a second
  replayer pause build-481`,
	}
	root.AddCommand(newRunCommand(), newLiveCommand(), newPlanCommand())
	root.AddCommand(newOrderCommands()...)
	return root
}
