// Package archtest holds the rules of the code base that a compiler does not: which package may
// import which, where a third-party library lives, what must be said in comments, what may not be
// written at all. It has tests only. They read the files with go/parser, so that they cost next to
// nothing, and so that a cached result of theirs is never older than the code.
//
// A rule that makes a line worse may be changed; the change then stands in the commit that needed it.
package archtest
