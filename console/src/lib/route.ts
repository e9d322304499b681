// Routes live in the hash, so that any path may be the console's mount point. The URL
// holds what is shown: the page, the thing, the filters.

export interface Route {
  /** The page's name; overview when the hash is empty. */
  page: string
  /** The id of the thing that the page shows, or empty. */
  id: string
  query: Record<string, string>
}

export function parse(hash: string): Route {
  const [path = '', search = ''] = hash.replace(/^#\/?/, '').split(/\?(.*)/s)
  const [page = '', ...rest] = path.split('/')
  let id = rest.join('/')
  try {
    id = decodeURIComponent(id)
  } catch {
    // A damaged escape is shown as it is.
  }
  return { page: page || 'overview', id, query: Object.fromEntries(new URLSearchParams(search)) }
}

export function href(page: string, id = '', query: Record<string, string | undefined> = {}): string {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value) search.set(name, value)
  const text = search.toString()
  return '#/' + page + (id ? '/' + encodeURIComponent(id) : '') + (text ? '?' + text : '')
}

/** Where a text that somebody pastes leads to. */
export function find(text: string): string {
  const word = text.trim()
  if (/^msg_[0-9a-f-]+$/i.test(word)) return href('messages', word)
  if (/^evt_/.test(word)) return href('events', '', { id: word })
  if (/^key_/.test(word)) return href('keys', '', { id: word })
  const label = /^([^:\s=]+)=(.*)$/.exec(word)
  if (label) return href('clients', '', { label: word })
  if (word.endsWith('*')) return href('clients', '', { prefix: word.slice(0, -1) })
  return href('clients', word)
}
