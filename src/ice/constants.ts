/** Every number the agent goes by, with its unit and where it comes from. Times are milliseconds. */

/**
 * Until the next check of a pair that has not answered, by how many went out: new checks, not retransmissions, so the 500 ms floor of
 * RFC 8445 14.3 does not apply, and the pace of 14.2 does. Ten packets in all to an address that never answers, seven of them in the first
 * second: where three in five are lost each way, one of both sides' seven still comes through in 999 of 1,000 meetings.
 */
export const CHECK_INTERVALS: readonly number[] = [50, 50, 100, 150, 250, 400, 1_200, 4_800, 12_800]
/**
 * The same once the peer has proved itself from there: its packets come through and it wants ours, so they are only lost, not refused, and
 * what is missing is one round trip. 74 packets in 20 s, if it never comes.
 */
export const HEARD_INTERVALS: readonly number[] = [
  ...times(25, 20),
  ...times(20, 50),
  ...times(10, 100),
  ...times(5, 200),
  ...times(5, 400),
  ...times(5, 800),
  ...times(3, 3_200),
]
/** Where a round trip may be longer than the first of these they are longer, too, but not for more than this: how long it is, is a guess. */
export const HEARD_INTERVAL_MOST = 100
/** For a pair that works and has to confirm something: a nomination, or that it still works. 20 packets in 20 s. */
export const CONFIRM_INTERVALS: readonly number[] = [
  50, 50, 100, 100, 200, 200, 200, 400, 400, 400, 800, 800, 800, 1_600, 1_600, 1_600, 3_200, 3_200, 3_200,
]
/**
 * While the peer may not have our signal yet (somebody carries it by hand), a likely pair is asked again this often: often enough for the NAT to
 * let the peer's first check in. So many times, then never: half an hour.
 */
export const WAITING_INTERVAL = 15_000
export const WAITING_CHECKS = 120
/** Pairs that are asked so, at most. */
export const WAITING_PAIRS = 4
/** Openers only, for this long, while nothing tells whether the peer has sent; then checks with all hops for the rest of the run. */
export const OPENING_TIME = 1_500
/** A response later than this after its check is not waited for: RFC 8489 6.2.1 would wait 39.5 s for a whole transaction. */
export const CHECK_LIFETIME = 12_000
/** Pairs in the check list, at most (RFC 8445 6.1.2.5). */
export const MAX_PAIRS = 100
/** Remote candidates, at most; the signalled ones and the peer-reflexive ones each. */
export const MAX_REMOTE_CANDIDATES = 64
/**
 * Checks that one session may send to one IP address that never answers, whatever the ports, our own bases, restarts and changes of mind: so many
 * at once, then one more every so often. Six pairs get their whole run.
 */
export const BUDGET = { burst: 60, interval: 5_000 }
/** The same where the peer's authenticated checks come from that address, though it answers none of ours. */
export const HEARD_BUDGET = { burst: 200, interval: 500 }
/**
 * Openers to one IP address, besides: they end two hops from here, which is where our own neighbours live. Eight pairs get their whole run, and
 * after it four are kept open at `WAITING_INTERVAL`.
 */
export const OPENER_BUDGET = { burst: 60, interval: 3_000 }
/** All of a session's checks to addresses that never answer. */
export const SESSION_BUDGET = { burst: 1_000, interval: 500 }
/** Checks remembered while the peer's credentials are not known yet. */
export const MAX_EARLY_CHECKS = 32
/** A 487 settles a conflict at once, two crossing ones perhaps the second time; a peer that sends more of them is out of its mind. */
export const MAX_ROLE_CONFLICTS = 8
/** No failure before this after both sides are known to have the other's credentials: RFC 8863 4, the time of one whole transaction. */
export const PATIENCE = 39_500
/** Consent is asked for every 4 to 6 s and expires 30 s after the last valid answer (RFC 7675 5.1). */
export const CONSENT_INTERVAL = 5_000
export const CONSENT_EXPIRY = 30_000
/** Valid pairs that carry no data are kept for a switch: often enough for NATs that forget after 30 s. */
export const SPARE_INTERVAL = 15_000
/** Checks without an answer that end a valid pair whose address the peer withdrew: under a second. */
export const SUSPECT_CHECKS = 6
/** Questions in a row without an answer that are reason to ask what else works; of a pair that is not asked quickly, to prefer another. */
export const DOUBTFUL_QUESTIONS = 2
/** Quick ones that make another valid pair the better one; they follow each other at the round trip known so far: half a second at least. */
export const DOUBTFUL_NOMINATIONS = 6
/**
 * While a relay carries the data, the direct pairs get another check every so often: so many rounds, then more rarely. What a NAT or a firewall
 * opened for our last check is open for 30 s at least (RFC 4787 4.3), so the two ends' checks need not be sent at once.
 */
export const RECONSIDER = { first: 5_000, rounds: 12, later: 15_000 }
/** Pairs that get one in a round, at most. */
export const RECONSIDERED_PAIRS = 6
/** Longest wait for a better pair before the one regular nomination toward a foreign agent. */
export const NOMINATION_WAIT = 150
/**
 * What works is left for a better pair once the peer's own check came there and was answered: our data follows the answer then. Before that the
 * peer may not know the pair for valid, and can keep a few datagrams only. Later than this after the pair is valid here nobody waits for that.
 */
export const CHANGE_WAIT = 1_000
/** A pair of the same kind must be this much faster to take over. */
export const RTT_MARGIN = 10
/** And no sooner than this after the last change. */
export const RENOMINATION_INTERVAL = 5_000

function times(count: number, interval: number): number[] {
  return new Array<number>(count).fill(interval)
}
