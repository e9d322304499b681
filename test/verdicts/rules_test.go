package verdicts

// rule is one that the explorer can take out. The comment says what holds with it.
type rule uint8

const (
	claimSettlesNothing   rule = iota // ask_through gives no verdict
	refusalChangesNothing             // a refused REGISTER leaves the queue as it is
	asksGoFirst                       // no first transmission leaves before the last ASK
	asksPassRepeats                   // only unanswered ASKs count against the window for the next ASK
	askCostsNoAttempt                 // an ASK counts no attempt
	retryCostsNoAttempt               // nor does a transmission that is answered retry later
	askTimesOut                       // an ASK without an answer counts as "not handled"
	passDurable                       // only an ACK or a durable final state frees a place or moves the cursor past
	skipProposes                      // a session that skips an expired delivery proposes Expire
	expireJudgedTime                  // Expire carries the time by which it was judged
	readDurable                       // a session takes only durable states as final
	firstFinalWins                    // in log order
	toldWhenDurable                   // a final state is shown only once it is durable
	numbersOnce                       // a sequence is never given twice
	foreignClaimVoid                  // a claim above the numbers given gets resumed: false
	verdictBound                      // unanswered deliveries and undurable verdicts are bounded together
	dedup                             // the ledger answers a repeat and does not handle it again
	listHoles                         // the ledger lists deliveries that came and are not handled
	pendingSurvives                   // also over a reconnect
	holesReconnect                    // a full list of holes is emptied by a reconnect, not pushed out
	holesForgotten                    // a delivery below a new one that neither came nor was asked for on the connection is final
	savedBeforeAck                    // the ledger is saved before the ACK leaves
	verdictListed                     // the ledger lists verdicts that are not plain ok
	rejectKept                        // a reject without its reason still answers reject
	evictByAge                        // of the verdicts, the one given first goes first
	lateOKListed                      // a plain ok for a hole, given after a later one's, is listed
	otherLogVoids                     // another log voids the ledger
	uplinkIdentity                    // an uplink's number is an identity, not an order
	uplinkDurable                     // an uplink is acked ok, also as a repeat, when it is durable
	uplinkRetryForgotten              // a number answered retry later is not remembered
	uplinkPerConnection               // numbers are remembered for one connection
	rules
)

var ruleNames = [rules]string{"claimSettlesNothing", "refusalChangesNothing", "asksGoFirst", "asksPassRepeats",
	"askCostsNoAttempt", "retryCostsNoAttempt", "askTimesOut", "passDurable", "skipProposes", "expireJudgedTime",
	"readDurable", "firstFinalWins", "toldWhenDurable", "numbersOnce", "foreignClaimVoid", "verdictBound", "dedup",
	"listHoles", "pendingSurvives", "holesReconnect", "holesForgotten", "savedBeforeAck", "verdictListed", "rejectKept",
	"evictByAge", "lateOKListed", "otherLogVoids", "uplinkIdentity", "uplinkDurable", "uplinkRetryForgotten",
	"uplinkPerConnection"}

func (r rule) String() string { return ruleNames[r] }

// ruleSet is the rules that are taken out.
type ruleSet uint32

func without(rs ...rule) (s ruleSet) {
	for _, r := range rs {
		s |= 1 << r
	}
	return s
}

func (s ruleSet) holds(r rule) bool { return s&(1<<r) == 0 }
