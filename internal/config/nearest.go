package config

import "strings"

// Nearest returns the candidate that a person most likely meant by name, or "" where none is near:
// the one with the fewest letters to change, add or drop, case and _ for - aside.
func Nearest(name string, candidates []string) string {
	const longest = 64
	if len(name) > longest {
		return ""
	}
	best, distance := "", min(max(2, len(name)/2), len(name)-1)
	plain := simplify(name)
	for _, candidate := range candidates {
		d := editDistance(plain, simplify(candidate))
		// What was begun or is part of a longer name is nearer than its length says:
		// redis-password is redis-password-file.
		if len(plain) >= 3 && strings.HasPrefix(simplify(candidate), plain) {
			d = min(d, 1)
		}
		if d < distance || (d == distance && best == "") {
			best, distance = candidate, d
		}
	}
	return best
}

func simplify(name string) string {
	return strings.ToLower(strings.ReplaceAll(name, "_", "-"))
}

// editDistance is Levenshtein's, over bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
