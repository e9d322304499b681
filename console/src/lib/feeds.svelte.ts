// The streams of this tab. They run while the tab is visible and one of three, and the
// reader has not paused them.

import { Feed, type FeedOptions, type FeedState } from './feed.ts'
import { Tabs } from './tabs.ts'

class Feeds {
  /** What the head shows of the stream of the page; null when the page has none. */
  state = $state.raw<FeedState | null>(null)
  paused = $state(false)
  /** Whether this tab is one of the three that may hold a stream. */
  may = $state(false)
  #feeds = new Set<Feed<never>>()

  start(): () => void {
    const tabs = new Tabs((may) => {
      this.may = may
      this.look()
    })
    tabs.start()
    return () => tabs.stop()
  }

  toggle(): void {
    this.paused = !this.paused
    this.look()
  }

  /** Reads a stream while the part that asks for it is there. Returns what ends it. */
  read<T>(options: Omit<FeedOptions<T>, 'state'>, cursor = ''): () => void {
    const feed = new Feed<T>(
      {
        ...options,
        state: (state) => (this.state = state),
      },
      cursor,
    )
    this.#feeds.add(feed as unknown as Feed<never>)
    this.state = { at: 'paused' }
    this.look()
    return () => {
      feed.stop()
      this.#feeds.delete(feed as unknown as Feed<never>)
      if (!this.#feeds.size) this.state = null
    }
  }

  /** Starts what may run and does not, such as a stream that the last key could not read. */
  look(): void {
    for (const feed of this.#feeds) {
      if (this.may && !this.paused) feed.start()
      else feed.stop()
    }
  }
}

export const feeds = new Feeds()
