// What every part of the console shares: language, zone, theme, the clock's beat, the
// session.

import { call, session, asFailure, Failure } from './call.ts'
import { difference, now, silence } from './clock.ts'
import type { Language, Zone } from './format.ts'
import type { components } from './schema.d.ts'
import type { Sentences } from '../sentences/en.ts'
import { en } from '../sentences/en.ts'

export type Whoami = components['schemas']['Session']
export type Theme = 'system' | 'light' | 'dark'

/** Tells the other tabs of the browser, which have the same cookie, that the session is another. */
const tabs = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel('longwire.session')

function stored(name: string): string | null {
  try {
    return localStorage.getItem('longwire.' + name)
  } catch {
    return null
  }
}

function store(name: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem('longwire.' + name)
    else localStorage.setItem('longwire.' + name, value)
  } catch {
    // Nothing is kept then; the page works all the same.
  }
}

/** What is shown only once. */
export interface Once {
  title: string
  /** What it is. */
  note: string
  text: string
  warnings?: string[]
}

class App {
  language = $state<Language>('en')
  /** The sentences of the language. */
  t = $state.raw<Sentences>(en)
  zone = $state<Zone>('local')
  theme = $state<Theme>('system')
  /** The server's time in ms; moves once a second while the page is visible. */
  now = $state(now())
  /** The difference of the reader's clock to the server's in ms; 0 when it is small. */
  skew = $state(0)
  /** Who the reader is; null until the gateway has said it. */
  who = $state.raw<Whoami | null>(null)
  /** True when a session has ended under an open page: the login comes over the page, which keeps what was typed. */
  ended = $state(false)
  /** What is shown only once, over each page until the reader has dismissed it. */
  once = $state.raw<Once[]>([])
  /** How many of these are being made. */
  making = $state(0)
  /** Why the gateway does not say it. */
  refused = $state.raw<Failure | null>(null)
  /** For how long the gateway has answered nothing that this page asked, in ms. */
  silence = $state(0)

  async start(): Promise<void> {
    setInterval(() => {
      if (document.visibilityState === 'visible') this.beat()
    }, 1000)
    document.addEventListener('visibilitychange', () => this.beat())
    if (tabs) tabs.onmessage = () => void this.whoami()
    addEventListener('storage', () => this.restore()) // another tab has changed it
    session.lost = () => {
      if (this.who) this.ended = true // an open gateway asks for keys once there is one
    }
    await this.restore()
    await this.whoami()
  }

  /** Takes the choices that are kept. */
  async restore(): Promise<void> {
    this.zone = stored('zone') === 'utc' ? 'utc' : 'local'
    this.paint((stored('theme') as Theme | null) ?? 'system')
    await this.speak((stored('language') ?? navigator.language).startsWith('zh') ? 'zh' : 'en', false)
  }

  beat(): void {
    this.now = now()
    this.skew = difference()
    this.silence = silence()
  }

  async speak(language: Language, keep = true): Promise<void> {
    this.language = language
    const t = language === 'zh' ? await import('../sentences/zh.ts').then((module) => module.zh, () => null) : en
    if (this.language !== language) return // another choice came meanwhile
    if (!t) return this.speak('en', false) // the files of another version
    this.t = t
    document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en'
    if (keep) store('language', language === 'zh' ? 'zh-CN' : 'en')
  }

  setZone(zone: Zone): void {
    this.zone = zone
    store('zone', zone)
  }

  setTheme(theme: Theme): void {
    store('theme', theme === 'system' ? null : theme)
    this.paint(theme)
  }

  private paint(theme: Theme): void {
    this.theme = theme
    if (theme === 'system') delete document.documentElement.dataset['theme']
    else document.documentElement.dataset['theme'] = theme
  }

  async whoami(): Promise<void> {
    try {
      this.who = await call<Whoami>({ path: '/v1/session' })
      this.refused = null
      this.ended = false
    } catch (error) {
      this.refused = asFailure(error)
    }
    this.beat()
  }

  /** Changes a key into a session. The key itself is kept nowhere. */
  async login(key: string): Promise<void> {
    if (/[^ -~]/.test(key)) throw new Failure(401, null, '', 0) // no header carries it, and no key has it
    session.bearer = key
    try {
      await call({ method: 'POST', path: '/v1/session' })
    } finally {
      session.bearer = ''
    }
    await this.whoami()
    if (this.refused?.status === 401) throw new Failure(403, { type: 'about:blank' as never, title: this.t.loginCookie, status: 403 }, '', 0)
    tabs?.postMessage('')
  }

  /** Ends the session. Throws a Failure while it may still be there: only the gateway can take the cookie back. */
  async logout(): Promise<void> {
    try {
      await call({ method: 'DELETE', path: '/v1/session' })
    } catch (error) {
      if (asFailure(error).status !== 401) throw error
    }
    this.who = null
    this.ended = false
    tabs?.postMessage('')
  }

  /** Shows what is made, on whichever page the reader is by then. */
  async reveal(make: () => Promise<Once>): Promise<void> {
    this.making++
    try {
      const made = await make()
      // The dialog that asked for it closes first, so that the focus goes back to the page.
      setTimeout(() => (this.once = [...this.once, made]))
    } finally {
      this.making--
    }
  }

  /** Whether the reader may make calls of a scope. */
  may(scope: string): boolean {
    const who = this.who
    if (!who) return false
    return who.auth === 'open' || who.scopes.includes('admin') || who.scopes.includes(scope)
  }
}

export const app = new App()
