// One thing that a reader does: it is under way, done, or has failed. Its button is
// aria-disabled while it is under way: a disabled one would lose the focus.

import { asFailure, type Failure } from './call.ts'

export class Attempt {
  busy = $state(false)
  failure = $state.raw<Failure | null>(null)

  /** Does it, unless it is under way already. Returns whether it was done; failure says why not. */
  async run(act: () => Promise<unknown>): Promise<boolean> {
    if (this.busy) return false
    this.busy = true
    this.failure = null
    try {
      await act()
    } catch (error) {
      this.failure = asFailure(error)
    }
    this.busy = false
    return this.failure === null
  }
}
