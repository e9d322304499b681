// Why a message has not arrived, or a client is not there: the code and the facts of the
// gateway as a sentence in the reader's language.

import { fill, type Facts, type Voice } from './fill.ts'
import type { components } from './schema.d.ts'
import type { Sentences } from '../sentences/en.ts'

type Schemas = components['schemas']
type Words = Pick<Sentences, 'messageWhy' | 'clientWhy'>

/** The facts of an answer on one level, under the names that the sentences use. */
export function flat(client: string | undefined, facts: Schemas['MessageFacts'] | Schemas['ClientFacts']): Facts {
  const { last_close, refused, uplinks_refused, claims, ...rest } = facts as Schemas['MessageFacts'] & Schemas['ClientFacts']
  const out: Facts = { ...rest, client }
  if (last_close) {
    out['by'] = last_close.by
    out['reason'] = last_close.reason
  }
  if (refused) {
    out['refused_count'] = refused.count
    out['refused_reason'] = refused.reason
    out['refused_at'] = refused.last_at
  }
  if (uplinks_refused) {
    out['refused_count'] = uplinks_refused.count
    out['refused_reason'] = uplinks_refused.reason
    out['refused_at'] = uplinks_refused.last_at
  }
  if (claims) out['claimed_from'] = claims.map((claim) => claim.remote_addr).join(' · ')
  if (rest.expires_in !== undefined) out['expires_in_seconds'] = rest.expires_in
  if (rest.counts) {
    Object.assign(out, rest.counts)
    out['final'] = rest.counts.total - rest.counts.queued - rest.counts.sent
  }
  return out
}

/** The sentence of a message, or of one delivery. A code that this page does not know has the gateway's own sentence. */
export function messageSentence(words: Words, why: Schemas['MessageWhy'], voice: Voice): string {
  const sentence = words.messageWhy[why.code] as string | undefined
  return sentence === undefined ? why.sentence : fill(sentence, flat(why.client, why.facts), voice)
}

/** The sentence of a client. */
export function clientSentence(words: Words, why: Schemas['ClientWhy'], voice: Voice): string {
  const sentence = words.clientWhy[why.code] as string | undefined
  return sentence === undefined ? why.sentence : fill(sentence, flat(why.client, why.facts), voice)
}
