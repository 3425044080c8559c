// Package schedule runs tasks in lanes: those of one lane one after another, lanes side by side.
//
// A task is run in steps. A step needs the gate's leave, and ends with the task finished, dropped
// or parked until a time. A parked task keeps its lane waiting and nobody else, and costs no
// goroutine: one dispatcher starts whatever may run. Tasks that have something else to do than to
// call (they are expired, or were never valid) run without leave.
package schedule
