// How many tabs of this browser hold a stream. A browser gives a host six connections
// over HTTP/1.1; streams take at most three, so that calls always have some.

export const most = 3

interface Note {
  tab: number
  kind: 'here' | 'gone' | 'who'
}

/**
 * Whether this tab may hold a stream: it is visible, and among the first three that
 * are. BroadcastChannel needs no secure context.
 */
export class Tabs {
  #me = Math.random()
  #since = Date.now()
  #seen = new Map<number, number>() // tab → when it was last heard of
  #channel: BroadcastChannel | null = null
  #beat: ReturnType<typeof setInterval> | undefined
  #holds = false

  constructor(readonly changed: (may: boolean) => void) {}

  start(): void {
    if (typeof BroadcastChannel === 'undefined') {
      this.changed(true)
      return
    }
    this.#channel = new BroadcastChannel('longwire.streams')
    this.#channel.onmessage = (event: MessageEvent<Note>) => this.#hear(event.data)
    this.#say('who')
    document.addEventListener('visibilitychange', this.#look)
    addEventListener('pagehide', this.#leave)
    this.#beat = setInterval(this.#look, 2000)
    setTimeout(this.#look, 100) // the answers to "who" are here by then
  }

  stop(): void {
    clearInterval(this.#beat)
    document.removeEventListener('visibilitychange', this.#look)
    removeEventListener('pagehide', this.#leave)
    this.#leave()
    this.#channel?.close()
  }

  #say(kind: Note['kind']): void {
    this.#channel?.postMessage({ tab: this.#me, kind } satisfies Note)
  }

  #hear(note: Note): void {
    if (note.kind === 'gone') this.#seen.delete(note.tab)
    else if (note.kind === 'here') {
      this.#seen.set(note.tab, Date.now())
      this.#yield()
    }
    else if (this.#holds) this.#say('here')
  }

  /** Gives the stream up when too many took one at the same moment: those with the lowest numbers keep theirs. */
  #yield(): void {
    const before = [...this.#seen.keys()].filter((tab) => tab < this.#me).length
    if (!this.#holds || before < most) return
    this.#leave()
    this.changed(false)
  }

  #leave = (): void => {
    if (this.#holds) this.#say('gone')
    this.#holds = false
  }

  #look = (): void => {
    for (const [tab, at] of this.#seen) if (Date.now() - at > 7000) this.#seen.delete(tab)
    let may = document.visibilityState === 'visible'
    if (may && !this.#holds) may = this.#seen.size < most && Date.now() - this.#since > 50
    if (may) this.#say('here')
    else if (this.#holds) this.#say('gone')
    if (may !== this.#holds) {
      this.#holds = may
      this.changed(may)
    }
  }
}
