/** Gathers what comes and hands it over at most four times a second. */
export class Paint<T> {
  #waiting: T[] = []
  #timer: ReturnType<typeof setTimeout> | undefined
  #last = 0

  constructor(
    readonly show: (items: T[]) => void,
    /** Beyond so many waiting items the oldest are let go; they are counted in dropped. */
    readonly most = 2000,
  ) {}

  dropped = 0

  add(item: T): void {
    this.#waiting.push(item)
    if (this.#waiting.length > this.most) {
      this.#waiting.shift()
      this.dropped++
    }
    this.#timer ??= setTimeout(() => this.#flush(), Math.max(0, 250 - (Date.now() - this.#last)))
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#waiting = []
  }

  #flush(): void {
    this.#timer = undefined
    this.#last = Date.now()
    const items = this.#waiting
    this.#waiting = []
    this.show(items)
  }
}
