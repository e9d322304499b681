package chart

import (
	"cmp"
	"slices"
)

// label is the name of a line, beside its end.
type label struct {
	name, colour string
	x, y         float64 // pixels
}

// Room that a label takes, in pixels.
const (
	labelStep   = 16 // from one to the next below
	letterWidth = 7.2
)

// covers reports whether two labels touch.
func (l *label) covers(o *label) bool {
	apart := l.x+letterWidth*float64(len(l.name)) < o.x || o.x+letterWidth*float64(len(o.name)) < l.x
	return !apart && max(l.y-o.y, o.y-l.y) < labelStep
}

// spread moves labels apart that would cover each other, as little as it takes
// and within the plot. Those of lines that end at the same place keep their
// order; one whose line ends earlier goes below what is in its way.
func spread(labels []label) []label {
	slices.SortStableFunc(labels, func(a, b label) int { return cmp.Or(cmp.Compare(b.x, a.x), cmp.Compare(a.y, b.y)) })
	for i := 1; i < len(labels); i++ {
		if labels[i].x == labels[i-1].x {
			labels[i].y = max(labels[i].y, labels[i-1].y+labelStep)
		}
	}
	for i := len(labels) - 1; i >= 0; i-- {
		limit := float64(top + plotH)
		if i+1 < len(labels) && labels[i+1].x == labels[i].x {
			limit = labels[i+1].y - labelStep
		}
		labels[i].y = min(labels[i].y, limit)
	}
	for i := range labels {
		for k := range i {
			if l := &labels[k]; l.x != labels[i].x && labels[i].covers(l) {
				labels[i].y = l.y + labelStep
			}
		}
	}
	return labels
}
