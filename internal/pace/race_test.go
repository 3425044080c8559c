//go:build race

package pace_test

const underRace = true
