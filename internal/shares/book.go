package shares

// Book knows which owner holds how many places, so that a full house can ask the
// owner with the most to give one back. Each call takes the same short time,
// whatever the numbers are. A Book has no lock: its user has one.
type Book[K comparable, V any] struct {
	owners map[K]*owner[K, V]
	ranks  []rank[K, V] // by number of places
	most   int          // the highest rank that is not empty
	len    int
}

// Place is one place of an owner.
type Place[K comparable, V any] struct {
	Holder     V // of the user; it may change
	owner      *owner[K, V]
	prev, next *Place[K, V]
}

// owner is in the list of its rank. Its places are in the order of their age.
type owner[K comparable, V any] struct {
	name          K
	n             int
	oldest, young *Place[K, V]
	prev, next    *owner[K, V]
}

// rank lists the owners that have the same number of places, the one that has
// come to it first at the front.
type rank[K comparable, V any] struct{ first, last *owner[K, V] }

// Len returns the number of places.
func (b *Book[K, V]) Len() int { return b.len }

// Of returns how many places an owner has.
func (b *Book[K, V]) Of(name K) int {
	if o := b.owners[name]; o != nil {
		return o.n
	}
	return 0
}

// Enter gives an owner one more place, its youngest.
func (b *Book[K, V]) Enter(name K, holder V) *Place[K, V] {
	if b.owners == nil {
		b.owners = make(map[K]*owner[K, V])
	}
	o := b.owners[name]
	if o == nil {
		o = &owner[K, V]{name: name}
		b.owners[name] = o
	}
	p := &Place[K, V]{Holder: holder, owner: o, prev: o.young}
	if o.young == nil {
		o.oldest = p
	} else {
		o.young.next = p
	}
	o.young = p
	b.len++
	b.move(o, o.n+1)
	return p
}

// Leave takes a place back. It must be called once.
func (b *Book[K, V]) Leave(p *Place[K, V]) {
	o := p.owner
	if p.prev == nil {
		o.oldest = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		o.young = p.prev
	} else {
		p.next.prev = p.prev
	}
	p.prev, p.next = nil, nil
	b.len--
	b.move(o, o.n-1)
	if o.n == 0 {
		delete(b.owners, o.name)
	}
}

// Oldest returns the oldest place of an owner, nil for none.
func (b *Book[K, V]) Oldest(name K) *Place[K, V] {
	if o := b.owners[name]; o != nil {
		return o.oldest
	}
	return nil
}

// Hoarder returns the oldest place of the owner that has the most, nil when
// there is none. Of several owners it takes the one that has had so many for
// longest.
func (b *Book[K, V]) Hoarder() *Place[K, V] {
	if b.len == 0 {
		return nil
	}
	return b.ranks[b.most].first.oldest
}

// move puts an owner into the rank of n places.
func (b *Book[K, V]) move(o *owner[K, V], n int) {
	if o.n > 0 {
		r := &b.ranks[o.n]
		if o.prev == nil {
			r.first = o.next
		} else {
			o.prev.next = o.next
		}
		if o.next == nil {
			r.last = o.prev
		} else {
			o.next.prev = o.prev
		}
		o.prev, o.next = nil, nil
	}
	if o.n = n; n > 0 {
		for len(b.ranks) <= n {
			b.ranks = append(b.ranks, rank[K, V]{})
		}
		r := &b.ranks[n]
		if o.prev = r.last; r.last == nil {
			r.first = o
		} else {
			r.last.next = o
		}
		r.last = o
	}
	b.most = max(b.most, n)
	for b.most > 0 && b.ranks[b.most].first == nil {
		b.most--
	}
}
