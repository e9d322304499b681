package gateway

import "container/list"

// recent is a map with a bound: it has the entries that were put last. The zero value is
// empty. Its owner guards it.
type recent[K comparable, V any] struct {
	of    map[K]*list.Element
	order list.List // of *recentEntry[K, V], the latest last
}

type recentEntry[K comparable, V any] struct {
	key   K
	value V
}

// put adds an entry or replaces it. Above the bound the oldest gives way; then full is true
// and gone is its value.
func (r *recent[K, V]) put(k K, v V, bound int) (gone V, full bool) {
	if r.of == nil {
		r.of = make(map[K]*list.Element)
	}
	if e := r.of[k]; e != nil {
		e.Value.(*recentEntry[K, V]).value = v
		r.order.MoveToBack(e)
		return gone, false
	}
	if full = len(r.of) >= bound; full {
		oldest := r.order.Front().Value.(*recentEntry[K, V])
		gone = oldest.value
		r.remove(oldest.key)
	}
	r.of[k] = r.order.PushBack(&recentEntry[K, V]{k, v})
	return gone, full
}

// get returns the value of a key; ok is false for none.
func (r *recent[K, V]) get(k K) (v V, ok bool) {
	e := r.of[k]
	if e == nil {
		return v, false
	}
	return e.Value.(*recentEntry[K, V]).value, true
}

func (r *recent[K, V]) remove(k K) {
	if e := r.of[k]; e != nil {
		r.order.Remove(e)
		delete(r.of, k)
	}
}

// all yields the entries, the oldest first.
func (r *recent[K, V]) all(yield func(K, V) bool) {
	for e := r.order.Front(); e != nil; e = e.Next() {
		if x := e.Value.(*recentEntry[K, V]); !yield(x.key, x.value) {
			return
		}
	}
}
