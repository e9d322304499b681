/** Opens a dialog over the page. Its end gives the focus back to where it was: a browser does so only for a dialog that is still in the page. */
export function modal(dialog: HTMLDialogElement): () => void {
  const before = document.activeElement
  dialog.showModal()
  return () => {
    dialog.close()
    if (before instanceof HTMLElement) before.focus()
  }
}
