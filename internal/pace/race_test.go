//go:build race

package pace_test

// The simulations are each of one goroutine, in which the race detector has nothing to find and takes ten
// times as long: with it there are fewer of them. What concurrency there is, in pacers_test.go, runs as
// without it.
const (
	underRace = true
	oneIn     = 400
)

var (
	rates  = []float64{1, 25}
	noises = []int{10}
)
