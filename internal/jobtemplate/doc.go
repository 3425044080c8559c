// Package jobtemplate makes reply jobs of the rows of a CSV file and a template.
//
// A template is a job in JSON whose string values may hold the names of columns between braces,
// {{column}}. Each row fills them in: a cell is text and nothing else, escaped as JSON wants it, so that
// it can neither end its string nor become a number. All else of the template, the order of its members
// too, is in every job as it was written, but for white space around the values.
//
// A brace that is written \u007b is never part of a placeholder. A template without an idempotent_id
// gives each job one that is made of its content: see [Filler.Fill].
package jobtemplate
