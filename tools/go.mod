module github.com/reprise-io/reprise/tools

go 1.26.0
