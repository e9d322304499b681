// The route that is shown, and the ways to change it.

import { href, parse, type Route } from './route.ts'

class Nav {
  route = $state.raw<Route>(parse(location.hash))

  constructor() {
    addEventListener('hashchange', () => (this.route = parse(location.hash)))
  }

  /** Goes there, unless the reader has left from meanwhile. */
  go(to: string, from = this.route): void {
    if (from === this.route) location.hash = to
  }

  /** Changes the query of the shown page without a new entry in the history. */
  set(changes: Record<string, string | undefined>): void {
    const { page, id, query } = this.route
    const next: Record<string, string | undefined> = { ...query, ...changes }
    history.replaceState(null, '', href(page, id, next))
    this.route = parse(location.hash)
  }
}

export const nav = new Nav()
