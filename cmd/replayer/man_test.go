package main

import (
	"testing"

	"github.com/reprise-io/reprise/cmd/internal/clitest"
)

func TestEveryCommandHasAManualPage(t *testing.T) { clitest.HasManualPages(t, newRoot()) }
