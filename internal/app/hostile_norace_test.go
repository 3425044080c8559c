//go:build !race

package app_test

// raceFactor is for the race detector, which is not there.
const raceFactor = 1
