//go:build !race

package pace_test

const (
	underRace = false
	// oneIn is of how many merchants one is simulated.
	oneIn = 40
)

var (
	// rates are those of the quotas, in calls/s.
	rates = []float64{1, 25, 200}
	// noises are the shares of calls that the API refuses at random, in percent.
	noises = []int{1, 2, 5, 10, 20, 30}
)
