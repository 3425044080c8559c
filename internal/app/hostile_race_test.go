//go:build race

package app_test

// raceFactor is how much more CPU the race detector takes.
const raceFactor = 3
