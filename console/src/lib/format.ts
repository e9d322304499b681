// Numbers, times and ages, in the reader's language. One setting of the zone holds for
// the whole console: the reader's own, or UTC.

export type Language = 'en' | 'zh'
export type Zone = 'local' | 'utc'

const locale = (language: Language) => (language === 'zh' ? 'zh-CN' : 'en-GB')

export function number(value: number, language: Language): string {
  return new Intl.NumberFormat(locale(language)).format(value)
}

/** A number for a tile: 12,345 as 12K, or as 1.2万. */
export function compact(value: number, language: Language): string {
  if (value < 10_000) return number(value, language)
  return new Intl.NumberFormat(locale(language), { notation: 'compact', maximumFractionDigits: 1 }).format(value)
}

/** Bytes in powers of 1,024. */
export function bytes(value: number, language: Language): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let at = 0
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024
    at++
  }
  return new Intl.NumberFormat(locale(language), { maximumFractionDigits: value < 10 && at ? 1 : 0 }).format(value) + ' ' + units[at]
}

/** A duration in milliseconds: 0.4 ms, 12 ms, 3.2 s. */
export function latency(ms: number, language: Language): string {
  const digits = (value: number) => new Intl.NumberFormat(locale(language), { maximumSignificantDigits: 3 }).format(value)
  return ms < 1000 ? digits(ms) + ' ms' : digits(ms / 1000) + ' s'
}

/** How long ago, in the largest unit that has at least one: "12 min", "3 天". Below a second it is 0 s. */
export function age(ms: number, language: Language): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  const units: [number, string, string][] = [
    [86400, 'd', ' 天'],
    [3600, 'h', ' 小时'],
    [60, 'min', ' 分钟'],
    [1, 's', ' 秒'],
  ]
  for (const [size, en, zh] of units) {
    if (seconds >= size || size === 1) {
      const count = Math.floor(seconds / size)
      return language === 'zh' ? count + zh : count + ' ' + en
    }
  }
  return ''
}

/** A time of the day with seconds, and its date when it is not today's. The zone stands behind it in titles only. */
export function clockTime(ms: number, language: Language, zone: Zone, today: number, millis = false): string {
  const options: Intl.DateTimeFormatOptions = { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' }
  if (millis) options.fractionalSecondDigits = 3
  if (zone === 'utc') options.timeZone = 'UTC'
  const day = new Intl.DateTimeFormat('en-CA', zone === 'utc' ? { timeZone: 'UTC' } : {})
  const time = new Intl.DateTimeFormat(locale(language), options).format(ms)
  return day.format(ms) === day.format(today) ? time : day.format(ms) + ' ' + time
}

/** The name of the zone that times are shown in, such as GMT+8 or UTC. */
export function zoneName(language: Language, zone: Zone, at: number): string {
  if (zone === 'utc') return 'UTC'
  const parts = new Intl.DateTimeFormat(locale(language), { timeZoneName: 'short' }).formatToParts(at)
  return parts.find((part) => part.type === 'timeZoneName')?.value ?? ''
}

/** A time in full, as tickets need it: ISO 8601 in UTC. */
export function utc(ms: number): string {
  return new Date(ms).toISOString().replace(/\.000Z$/, 'Z')
}
