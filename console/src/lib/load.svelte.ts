// One thing that a page shows: loading, there, stale, or a failure. Nothing is shown as
// loading before 200 ms, and what is there stays while it is asked for again.

import { asFailure, type Failure } from './call.ts'
import { now } from './clock.ts'

/** How long an answer may take, in ms. A later one counts as none. */
const patience = 30_000

/** Asks each ms milliseconds while the page is visible, but not while an answer is under way. Returns what ends it. */
export function every(ms: number, ask: (signal: AbortSignal) => Promise<unknown>): () => void {
  let busy = false
  const timer = setInterval(async () => {
    if (busy || document.visibilityState !== 'visible') return
    busy = true
    await ask(AbortSignal.timeout(patience)).catch(() => {}) // the next time may be better
    busy = false
  }, ms)
  return () => clearInterval(timer)
}

export class Loaded<T> {
  data = $state.raw<T | null>(null)
  failure = $state.raw<Failure | null>(null)
  /** True when the answer takes longer than 200 ms. */
  slow = $state(false)
  /** When the data came, in the server's time. */
  at = $state(0)
  #abort: AbortController | null = null
  #get: (signal: AbortSignal) => Promise<T>

  constructor(get: (signal: AbortSignal) => Promise<T>) {
    this.#get = get
  }

  /** Asks now. An answer that is under way counts no longer. */
  async load(): Promise<void> {
    this.#abort?.abort()
    const abort = new AbortController()
    this.#abort = abort
    const timer = setTimeout(() => (this.slow = true), 200)
    const late = setTimeout(() => abort.abort(), patience)
    try {
      const data = await this.#get(abort.signal)
      if (abort !== this.#abort) return
      this.data = data
      this.failure = null
      this.at = now()
    } catch (error) {
      if (abort !== this.#abort) return
      this.failure = asFailure(error)
    } finally {
      clearTimeout(timer)
      clearTimeout(late)
      if (abort === this.#abort) {
        this.slow = false
        this.#abort = null
      }
    }
  }

  /** Loads now and each ms milliseconds while the page is visible, but waits for an answer that takes longer. Returns what ends it. */
  every(ms: number): () => void {
    void this.load()
    const seen = () => {
      if (document.visibilityState === 'visible' && !this.#abort) void this.load()
    }
    const timer = setInterval(seen, ms)
    document.addEventListener('visibilitychange', seen)
    return () => {
      clearInterval(timer)
      document.removeEventListener('visibilitychange', seen)
      this.#abort?.abort()
      this.#abort = null
    }
  }
}
