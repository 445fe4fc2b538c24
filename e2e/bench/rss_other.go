//go:build !linux

package main

import "os"

func maxRSS(*os.ProcessState) int64 { return 0 }

func peakRSS(int) int64 { return 0 }
