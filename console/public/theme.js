// Sets the stored theme and language before the first paint.
try {
  const root = document.documentElement
  const theme = localStorage.getItem('longwire.theme')
  if (theme === 'light' || theme === 'dark') root.dataset.theme = theme
  const language = localStorage.getItem('longwire.language') ?? navigator.language
  root.lang = language.startsWith('zh') ? 'zh-CN' : 'en'
} catch {
  // A browser that keeps nothing for this page shows the system's theme.
}
