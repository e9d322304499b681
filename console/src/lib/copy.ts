/** Puts text on the clipboard. On plain HTTP there is no clipboard API: a selected field is copied then. */
export async function copy(text: string): Promise<boolean> {
  if (globalThis.isSecureContext && navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text)
      return true
    } catch {
      // refused by the browser's policy: the old way may work
    }
  }
  const field = document.createElement('textarea')
  field.value = text
  field.setAttribute('readonly', '')
  field.className = 'hidden-label'
  const dialog = document.querySelector('dialog[open]') ?? document.body // behind a modal nothing can be selected
  dialog.append(field)
  const focused = document.activeElement
  field.select()
  try {
    return document.execCommand('copy')
  } finally {
    field.remove()
    if (focused instanceof HTMLElement) focused.focus()
  }
}
