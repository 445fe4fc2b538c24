//go:build !linux

package main

import "errors"

// Run needs Linux.
func Run(string, Image, []string, []string) error {
	return errors.New("running an image without an engine needs Linux")
}
