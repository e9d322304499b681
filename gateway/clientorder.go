package gateway

// afterAll is behind every id that has a prefix, when it is added to that prefix: ids are
// ASCII.
const afterAll = "\xff"

// Start returns the id with which the page of q begins in its order, and whether it is
// left out. "" is the beginning, or with Descending the end.
func (q *ClientQuery) Start() (id ClientID, exclusive bool) {
	id, exclusive = q.After, q.After != ""
	consider := func(other ClientID) {
		if other != "" && (id == "" || q.Descending && other < id || !q.Descending && other > id) {
			id, exclusive = other, false
		}
	}
	consider(q.From)
	if q.Prefix != "" && q.Descending {
		consider(ClientID(q.Prefix + afterAll))
	} else {
		consider(ClientID(q.Prefix))
	}
	return id, exclusive
}
