// One stream of lines from the gateway, read with fetch: it can send a header, tells
// 401 and 429 apart from a broken wire, and chooses its own pauses.

import { asking, observe } from './clock.ts'
import { base, failure, session, target, type Call, type Failure } from './call.ts'

export type FeedState = { at: 'connecting' } | { at: 'live' } | { at: 'waiting'; until: number } | { at: 'paused' } | { at: 'failed'; failure: Failure }

export interface FeedOptions<T> {
  /** The call for a stream that begins behind cursor; empty for the first. */
  call: (cursor: string) => Call
  /** The cursor of a line, or empty when it has none. */
  cursor: (line: T) => string
  line: (line: T) => void
  /** The header that carries the cursor, for streams that take it so. */
  resumeHeader?: string
  state: (state: FeedState) => void
}

const shortest = 500
const longest = 15_000
/** A stream without a byte for so long is dead: the gateway writes one each 15 s. */
const silence = 45_000

/** Reads a stream until stop is called. It resumes behind the last line after each cut. */
export class Feed<T> {
  #options: FeedOptions<T>
  #cursor = ''
  #abort: AbortController | null = null
  #timer: ReturnType<typeof setTimeout> | undefined
  #pause = shortest

  constructor(options: FeedOptions<T>, cursor = '') {
    this.#options = options
    this.#cursor = cursor
  }

  start(): void {
    if (this.#abort) return
    clearTimeout(this.#timer)
    const abort = new AbortController()
    this.#abort = abort
    this.#options.state({ at: 'connecting' })
    void this.#read(abort)
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#abort?.abort()
    this.#abort = null
    this.#options.state({ at: 'paused' })
  }

  async #read(abort: AbortController): Promise<void> {
    let watch: ReturnType<typeof setTimeout> | undefined
    const alive = () => {
      clearTimeout(watch)
      watch = setTimeout(() => abort.abort('silent'), silence)
    }
    try {
      alive()
      asking()
      const sent = Date.now()
      const headers: Record<string, string> = { Accept: 'application/x-ndjson', 'Longwire-Console': '1' }
      if (this.#options.resumeHeader && this.#cursor) headers[this.#options.resumeHeader] = this.#cursor
      if (session.bearer) headers['Authorization'] = 'Bearer ' + session.bearer
      const response = await fetch(base(location) + target(this.#options.call(this.#cursor)), {
        headers,
        signal: abort.signal,
        credentials: 'same-origin',
        cache: 'no-store',
        redirect: 'error',
      })
      observe(Date.parse(response.headers.get('Date') ?? ''), sent, Date.now())
      if (!response.ok) {
        const failed = await failure(response)
        if (this.#abort !== abort) return // stopped meanwhile
        if (failed.status === 429 || failed.status >= 500) return this.#retry(abort, failed.retryAfter * 1000)
        this.#abort = null
        return this.#options.state({ at: 'failed', failure: failed })
      }
      this.#options.state({ at: 'live' })
      this.#pause = shortest
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
      let rest = ''
      for (;;) {
        const { done, value } = await reader.read()
        if (done) break
        alive()
        const lines = (rest + value).split('\n')
        rest = lines.pop() ?? ''
        for (const text of lines) if (text.trim()) this.#take(text)
      }
      this.#retry(abort, 0)
    } catch {
      this.#retry(abort, 0)
    } finally {
      clearTimeout(watch)
    }
  }

  #take(text: string): void {
    let line: T
    try {
      line = JSON.parse(text) as T
    } catch {
      return // the last line of a cut answer
    }
    const cursor = this.#options.cursor(line)
    if (cursor) this.#cursor = cursor
    this.#options.line(line)
  }

  #retry(abort: AbortController, asked: number): void {
    if (this.#abort !== abort) return // stopped meanwhile
    this.#abort = null
    const pause = Math.max(asked, this.#pause * (0.8 + 0.4 * Math.random()))
    this.#pause = Math.min(longest, this.#pause * 2)
    this.#options.state({ at: 'waiting', until: Date.now() + pause })
    this.#timer = setTimeout(() => this.start(), pause)
  }
}
