module github.com/reprise-io/reprise/middleware/nethttp

go 1.24
