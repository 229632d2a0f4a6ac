// Package helm holds what the chart beside it promises as failing tests. They render it with the part of helm's language that it
// uses; `make chart` holds what they render against helm itself, which takes minutes to compile. There is nothing in it to import.
package helm
